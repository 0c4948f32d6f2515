// A module of its own: vishvananda/netlink is measured, never a dependency.
module github.com/hyperfib/hyperfib/tools/bench/fib

go 1.26.0

replace github.com/hyperfib/hyperfib => ../../..

require (
	github.com/hyperfib/hyperfib v0.0.0
	github.com/jsimonetti/rtnetlink/v2 v2.0.2
	github.com/vishvananda/netlink v1.3.1
	golang.org/x/sys v0.49.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/mdlayher/netlink v1.11.2 // indirect
	github.com/mdlayher/socket v0.6.0 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
)
