// A module of its own: GoBGP is measured, never a dependency.
module github.com/hyperfib/hyperfib/tools/bench/codec

go 1.26.0

replace github.com/hyperfib/hyperfib => ../../..

require (
	github.com/hyperfib/hyperfib v0.0.0
	github.com/osrg/gobgp/v4 v4.8.0
)
