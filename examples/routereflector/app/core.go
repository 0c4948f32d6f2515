package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/hyperfib/hyperfib/bfd"
	"github.com/hyperfib/hyperfib/bgp"
)

// CoreConfig is what a [Core] is made of.
type CoreConfig struct {
	// Args is the command line, without the program's name. Flags of what a Core has no part
	// in, such as -api, are checked and do nothing.
	Args []string
	// Log gets a line for each thing worth one. Nil: nobody reads it.
	Log *slog.Logger
	// Now is the clock. Nil means time.Now. It must be the clock of the BFD events, too.
	Now func() time.Time
	// BFD is where the sessions of -bfd are added and removed, required with that flag and
	// not used without. Run and Watch are not called: the caller runs the service and passes
	// its events to [Core.BFD].
	BFD bfd.Service
	// BGP, if not nil, may change the configuration of the speaker before it is made.
	BGP func(*bgp.Config)
}

// Core is the reflector without goroutines, sockets or a clock of its own: the command runs
// one, and a program with its own clock and network drives one. The caller runs or drives
// the speaker, calls Step when the speaker may have events, BFD for each event of the
// BFD service, and Advance when Deadline says so. Step is called from one goroutine, BFD and Advance
// from one, which may be another.
type Core struct {
	speaker *bgp.Speaker
	events  *bgp.Watcher // of speaker
	watch   *watch       // what is done about events
}

// NewCore makes a reflector with its client ranges. The error says what is wrong with the
// command line or with what the flags ask for.
func NewCore(c CoreConfig) (*Core, error) {
	o, err := parse(c.Args, io.Discard)
	if err != nil {
		return nil, err
	}
	return newCore(o, c)
}

// newCore is NewCore with the command line parsed.
func newCore(o options, c CoreConfig) (*Core, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if o.bfdInterval == 0 {
		c.BFD = nil
	} else if c.BFD == nil {
		return nil, errors.New("-bfd needs a BFD service")
	}
	speaker, err := newSpeaker(o, c.BGP)
	if err != nil {
		return nil, err
	}
	w, err := newWatch(o, speaker, c)
	if err != nil {
		return nil, err
	}
	return &Core{speaker: speaker, events: speaker.Watch(), watch: w}, nil
}

// Speaker returns the BGP speaker. The caller runs or drives it.
func (c *Core) Speaker() *bgp.Speaker { return c.speaker }

// Step handles the events that the speaker has published, and those that follow from them,
// and reports whether there were any.
func (c *Core) Step() bool {
	var buf [64]bgp.Event
	for did := false; ; did = true {
		n, _ := c.events.Next(ended, buf[:])
		for _, e := range buf[:n] {
			c.watch.bgpEvent(e)
		}
		if n == 0 {
			return did
		}
	}
}

// ended is a context that is done: [bgp.Watcher.Next] returns what there is.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// BFD handles an event of the BFD service.
func (c *Core) BFD(e bfd.Event) { c.watch.bfdEvent(e) }

// Deadline returns when Advance has something to do, by the clock of the Core, and the zero Time if
// never. Only BFD makes it earlier. It is safe for concurrent use.
func (c *Core) Deadline() time.Time { return c.watch.deadline() }

// Advance does what is due, and reports whether there was anything: the path of a client whose BFD
// session was restarted, by the client or by the BFD service, and is not Up in time, has failed.
func (c *Core) Advance() bool { return c.watch.advance() }

// follow handles the speaker's events until ctx ends.
func (c *Core) follow(ctx context.Context) error {
	defer c.events.Close()
	for e, err := range c.events.All(ctx) {
		if err != nil {
			return err
		}
		c.watch.bgpEvent(e)
	}
	return nil
}

// followBFD handles the events of a BFD service, and what is due, until ctx ends.
func (c *Core) followBFD(ctx context.Context, service bfd.Service) error {
	events := service.Watch()
	defer events.Close()
	for {
		e, err := next(ctx, events, c.Deadline())
		switch {
		case err == nil:
			c.BFD(e)
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
		c.Advance()
	}
}

// next waits for an event until a time, if that is not zero, and then returns
// context.DeadlineExceeded.
func next(ctx context.Context, events *bfd.Watcher, until time.Time) (bfd.Event, error) {
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	var buf [1]bfd.Event
	_, err := events.Next(ctx, buf[:])
	return buf[0], err
}
