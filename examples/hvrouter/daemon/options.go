package daemon

import (
	"log/slog"
	"os"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Options is what a run needs besides the configuration.
type Options struct {
	// ConfigFile is read again at a reload. Required.
	ConfigFile string
	// Log takes the daemon's events; nil discards them.
	Log *slog.Logger
	// Reload asks for a reload, as SIGHUP does. May be nil.
	Reload <-chan os.Signal
	// StartBFD starts the separate BFD process on the socket; it is called only if
	// no process answers there.
	StartBFD func(c config.BFD) error
	// Ready is called once everything runs and every session is up and has said
	// everything, or has had the deferral time to; why says which. It is called after each
	// reload as well, if it was before. May be nil.
	Ready func(why string)
	// Reloading is called when a reload begins. May be nil.
	Reloading func()
	// Configured is called when a configuration begins to count, by a reload too. May be nil.
	Configured func(*config.Config)
	// Alive is called by the loop every AliveEvery: a loop that hangs is silent. 0
	// is never.
	Alive      func()
	AliveEvery time.Duration
}
