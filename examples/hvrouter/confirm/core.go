package confirm

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of the time that a configuration may wait for its confirmation.
const (
	MinWindow = time.Second
	MaxWindow = 24 * time.Hour
)

// Record is what is known of a configuration on trial, as it is on disk.
type Record struct {
	// Name of the new configuration, for people.
	Name string `json:"name"`
	// Old and New are the texts of both configurations.
	Old string `json:"old"`
	New string `json:"new"`
	// Window is how long the new one waits; 0 for one that needs no confirmation.
	Window time.Duration `json:"window"`
	// Deadline is when the old one returns, by the clock that people set: for people only.
	Deadline time.Time `json:"deadline,omitzero"`
	// Confirmed: the new one counts for good.
	Confirmed bool `json:"confirmed"`
}

// Counts returns the text of the configuration that a start finds.
func (r Record) Counts() string {
	if r.Confirmed {
		return r.New
	}
	return r.Old
}

// Action is what an [Effect] is.
type Action uint8

// The actions.
const (
	Save    Action = iota + 1 // write the record; [Core.Written] hears of it
	Apply                     // make the new configuration, or the old one, the one that counts
	Install                   // make its text the configuration's file, then remove the record; [Core.Written] hears of it
	Report                    // say what has happened
)

// String returns the action's name.
func (a Action) String() string {
	if int(a) < len(actions) && actions[a] != "" {
		return actions[a]
	}
	return fmt.Sprintf("Action(%d)", uint8(a))
}

var actions = [...]string{Save: "save", Apply: "apply", Install: "install", Report: "report"}

// News is what a [Report] says.
type News uint8

// The news.
const (
	Pending    News = iota + 1 // the new configuration waits: Left says for how long
	Confirmed                  // the new one counts for good
	RolledBack                 // the old one is back: Why says why
	Unwritten                  // the files cannot be written; it is tried again
	Written                    // they are
)

// String returns the name of the event.
func (n News) String() string {
	if int(n) < len(news) && news[n] != "" {
		return news[n]
	}
	return fmt.Sprintf("News(%d)", uint8(n))
}

var news = [...]string{Pending: "pending", Confirmed: "confirmed", RolledBack: "rolled-back", Unwritten: "unwritten", Written: "written"}

// Effect is something that is to be done.
type Effect struct {
	Action Action
	Record Record // of Save and Install
	Old    bool   // Apply: the old configuration
	News   News   // of Report
	Left   time.Duration
	Why    string
	Err    error
}

// state is how far a trial has come.
type state uint8

const (
	idle       state = iota
	saving           // the record is being written, nothing is touched
	waiting          // the new configuration counts, and waits
	confirming       // the record is being written with the confirmation
	installing       // it is decided: the files are being written
)

// Core decides. The zero value is ready: nothing is on trial. It is not safe for concurrent
// use.
type Core struct {
	state     state
	record    Record
	deadline  time.Time
	reminders []time.Time
	retry     time.Time // of installing, after an error
	backoff   time.Duration
	ended     string // what became of the last one
	endedAt   time.Time
}

// Waiting returns the record of a configuration that waits for its confirmation, and how long
// it still does.
func (c *Core) Waiting(now time.Time) (r Record, left time.Duration, ok bool) {
	if c.state != waiting && c.state != confirming {
		return r, 0, false
	}
	return c.record, max(0, c.deadline.Sub(now)), true
}

// Busy says why no other configuration can be taken now; nil if one can.
func (c *Core) Busy(now time.Time) error {
	switch c.state {
	case idle:
		return nil
	case installing:
		return errors.New("the files of the last reload could not be written yet: see the event reload-unwritten")
	}
	_, left, _ := c.Waiting(now)
	return fmt.Errorf("a reload waits for its confirmation, and is rolled back in %v: `hvrouter reload confirm` or `hvrouter reload cancel` comes first", left.Round(time.Second))
}

// Begin puts a configuration on trial. r.Window of 0 needs no confirmation. The error says why
// that cannot be.
func (c *Core) Begin(now time.Time, r Record) ([]Effect, error) {
	if err := c.Busy(now); err != nil {
		return nil, err
	}
	if r.Window != 0 && (r.Window < MinWindow || r.Window > MaxWindow) {
		return nil, fmt.Errorf("a confirmation is waited for %v: want %v to %v", r.Window, MinWindow, MaxWindow)
	}
	if r.Confirmed = r.Window == 0; !r.Confirmed {
		r.Deadline = now.Add(r.Window).Round(0).UTC()
	}
	c.state, c.record = saving, r
	return []Effect{{Action: Save, Record: r}}, nil
}

// Confirm makes the configuration that waits count for good. After the deadline it is an error,
// also if Advance has not been called yet.
func (c *Core) Confirm(now time.Time) ([]Effect, error) {
	if err := c.none(now); err != nil {
		return nil, err
	}
	if !now.Before(c.deadline) {
		return nil, errors.New("the confirmation comes too late: the reload is being rolled back")
	}
	c.state = confirming
	r := c.record
	r.Confirmed = true
	return []Effect{{Action: Save, Record: r}}, nil
}

// Cancel brings the old configuration back at once.
func (c *Core) Cancel(now time.Time) ([]Effect, error) {
	if err := c.none(now); err != nil {
		return nil, err
	}
	return c.rollBack(now, "cancelled"), nil
}

// none is the error if nothing waits.
func (c *Core) none(now time.Time) error {
	switch {
	case c.state == waiting:
		return nil
	case c.ended != "":
		return fmt.Errorf("no reload waits for a confirmation: the last one was %s %v ago", c.ended, now.Sub(c.endedAt).Round(time.Second))
	}
	return errors.New("no reload waits for a confirmation")
}

func (c *Core) rollBack(now time.Time, why string) []Effect {
	c.end(now, "rolled back ("+why+")")
	return []Effect{{Action: Apply, Old: true}, {Action: Report, News: RolledBack, Why: why}, c.install()}
}

// end notes what became of the trial.
func (c *Core) end(now time.Time, how string) {
	c.ended, c.endedAt = how, now
	c.deadline, c.reminders = time.Time{}, nil
}

func (c *Core) install() Effect {
	c.state, c.retry = installing, time.Time{}
	return Effect{Action: Install, Record: c.record}
}

// Recover goes on with a record that an earlier run has left. The caller has started with
// what counts by it.
func (c *Core) Recover(now time.Time, r Record) []Effect {
	c.record = r
	if r.Confirmed {
		return []Effect{c.install()}
	}
	const why = "the daemon ended before the confirmation came"
	c.end(now, "rolled back ("+why+")")
	return []Effect{{Action: Report, News: RolledBack, Why: why}, c.install()}
}

// Written says what became of the last Save or Install.
func (c *Core) Written(now time.Time, err error) []Effect {
	switch c.state {
	case saving:
		return c.saved(now, err)
	case confirming:
		if err != nil {
			c.state = waiting // as before: it can be confirmed again until the deadline
			return nil
		}
		c.record.Confirmed = true
		c.end(now, "confirmed")
		return []Effect{{Action: Report, News: Confirmed}, c.install()}
	case installing:
		return c.installed(now, err)
	}
	return nil
}

// saved goes on once the record is on disk.
func (c *Core) saved(now time.Time, err error) []Effect {
	switch {
	case err != nil:
		c.state = idle
		return nil
	case c.record.Confirmed:
		return []Effect{{Action: Apply}, c.install()}
	}
	c.state = waiting
	c.deadline = now.Add(c.record.Window)
	c.reminders = nil
	for _, left := range []time.Duration{c.record.Window / 2, time.Minute, 10 * time.Second} {
		if left <= c.record.Window/2 {
			c.reminders = append(c.reminders, c.deadline.Add(-left))
		}
	}
	slices.SortFunc(c.reminders, time.Time.Compare)
	c.reminders = slices.Compact(c.reminders)
	return []Effect{{Action: Apply}, {Action: Report, News: Pending, Left: c.record.Window}}
}

// Back-off between attempts to write the files.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

func (c *Core) installed(now time.Time, err error) (fx []Effect) {
	if err == nil {
		if c.backoff > 0 {
			fx = []Effect{{Action: Report, News: Written}}
		}
		c.state, c.record, c.backoff = idle, Record{}, 0
		return fx
	}
	if c.backoff == 0 {
		fx = []Effect{{Action: Report, News: Unwritten, Err: err}}
	}
	c.backoff = min(max(2*c.backoff, firstRetry), lastRetry)
	c.retry = now.Add(c.backoff)
	return fx
}

// Retry tries again at once to write what could not be written.
func (c *Core) Retry(now time.Time) []Effect {
	if c.state != installing {
		return nil
	}
	return []Effect{c.install()}
}

// Deadline returns when Advance has something to do, the zero time if never.
func (c *Core) Deadline() time.Time {
	switch {
	case c.state == installing:
		return c.retry
	case c.state != waiting:
		return time.Time{}
	case len(c.reminders) > 0:
		return c.reminders[0]
	}
	return c.deadline
}

// Advance does what is due.
func (c *Core) Advance(now time.Time) []Effect {
	switch {
	case c.state == installing && !c.retry.IsZero() && !now.Before(c.retry):
		return []Effect{c.install()}
	case c.state != waiting:
		return nil
	case !now.Before(c.deadline):
		return c.rollBack(now, "no confirmation came in time")
	}
	due := false
	for len(c.reminders) > 0 && !now.Before(c.reminders[0]) {
		due, c.reminders = true, c.reminders[1:]
	}
	if !due {
		return nil
	}
	return []Effect{{Action: Report, News: Pending, Left: c.deadline.Sub(now)}}
}
