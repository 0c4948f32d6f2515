package guest

import (
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/fib"
)

// Port is a guest that is present, with the interface it sits behind.
type Port struct {
	config.Guest
	Link fib.Link
}
