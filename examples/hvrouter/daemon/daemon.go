package daemon

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/failover"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
)

// Daemon is a running hvrouter.
type Daemon struct {
	opt       Options
	log       *slog.Logger
	journal   *journal.Journal // of what is logged
	loop      loop
	router    *router
	pumps     *pumps
	failover  *failover.Monitor
	sessions  *sessions.Speakers
	inventory *inventory
	reloader  *reloader
	started   time.Time
	again     bool // routes of an earlier run were found

	stateDirectory string
	unwritten      atomic.Pointer[error] // why events are not written; nil, or to nil: they are
	draining       sync.Mutex            // one change of the drain at a time
	// drainUnwritten says why the drain is not written down; nil, or to "": it is.
	drainUnwritten atomic.Pointer[string]
	movesError     note // what is wrong with the file of guests' moves

	disabled        stateWriter // which sessions are
	disabledChanged chan struct{}
	disabledError   note // why that is not written

	stateProbe stateProbe
}

// note is a text that several goroutines read and write; "" is none.
type note struct{ text atomic.Pointer[string] }

func (n *note) Store(text string) { n.text.Store(&text) }

func (n *note) Load() string {
	if text := n.text.Load(); text != nil {
		return *text
	}
	return ""
}
