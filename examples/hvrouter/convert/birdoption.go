package convert

import (
	"fmt"
	"strconv"
	"strings"
)

// An option reads what BIRD says of a session in one statement, whose rest follows the option's
// words. ok is false if the statement says it in a form that this option does not have.
type option func(c *converter, x *session, o *stmt, rest []token) (ok bool, err error)

// sessionOptions are the options of protocol bgp that have a counterpart. The first that begins like a
// statement and has its form reads it.
var sessionOptions = []struct {
	words string
	read  option
}{
	{"hold time", count(func(x *session) *uint64 { return &x.hold })},
	{"connect retry time", count(func(x *session) *uint64 { return &x.retry })},
	{"graceful restart time", count(func(x *session) *uint64 { return &x.restart })},
	{"long lived stale time", count(func(x *session) *uint64 { return &x.longLived })},
	{"allow local as", allowLocalAS},
	{"error wait time", errorWait},
	{"multihop", multihop},

	{"ttl security", toggle(func(x *session) *bool { return &x.ttl })},
	{"passive", toggle(func(x *session) *bool { return &x.passive })},
	{"long lived graceful restart", toggle(func(x *session) *bool { return &x.llgr })},
	{"require roles", toggle(func(x *session) *bool { return &x.strictRole })},
	{"long lived graceful restart aware", nothing(-1)},
	{"graceful restart", gracefulRestart},
	{"bfd", toggle(func(x *session) *bool { return &x.bfd })},
	{"bfd", bfdTimers},

	{"disabled", leavesOut("it is disabled")},
	{"rr client", leavesOut("rr client: hvrouter reflects nothing; examples/routereflector does")},
	{"rs client", leavesOut("rs client: hvrouter is no route server")},
	{"rr cluster id", nothing(1)},

	{"local", whole((*converter).localEnd)},
	{"neighbor", whole((*converter).neighbor)},
	{"source", whole(func(_ *converter, x *session, o *stmt) error { return address(o, 2, &x.local) })},
	{"interface", whole(device)},

	{"password", whole(password)},
	{"authentication md5", nothing(-1)},
	{"authentication none", nothing(-1)},
	{"authentication", whole(otherKeys)},
	{"keys", whole(otherKeys)},
}

// sessionOption reads one option of a session.
func (c *converter) sessionOption(b *bird, x *session, o *stmt) error {
	for _, one := range sessionOptions {
		if rest, begins := o.after(strings.Fields(one.words)...); begins {
			if ok, err := one.read(c, x, o, rest); ok || err != nil {
				return err
			}
		}
	}
	if b.one && channelWord(o) {
		return nil // channelOption reads it
	}
	if !c.skip(o) {
		c.gap(o.pos, "%s: has no counterpart", o.text())
	}
	return nil
}

// whole makes an option of a function that reads every form of it.
func whole(read func(*converter, *session, *stmt) error) option {
	return func(c *converter, x *session, o *stmt, _ []token) (bool, error) { return true, read(c, x, o) }
}

// count is an option with one number.
func count(into func(*session) *uint64) option {
	return func(_ *converter, x *session, o *stmt, rest []token) (ok bool, err error) {
		*into(x), err = oneNumber(o, rest)
		return true, err
	}
}

// toggle is an option that is on, off, or on without a word.
func toggle(into func(*session) *bool) option {
	return func(_ *converter, x *session, o *stmt, rest []token) (bool, error) {
		is, on := onOff(o, rest)
		if is {
			*into(x) = on
		}
		return is, nil
	}
}

// leavesOut is an option with which, if it is on, hvrouter cannot have the session.
func leavesOut(why string) option {
	return func(_ *converter, x *session, o *stmt, rest []token) (bool, error) {
		is, on := onOff(o, rest)
		if on {
			x.out = why
		}
		return is, nil
	}
}

// nothing is an option that needs no counterpart, with n words behind it; -1: any number of them.
func nothing(n int) option {
	return func(_ *converter, _ *session, _ *stmt, rest []token) (bool, error) {
		return n < 0 || len(rest) == n, nil
	}
}

func allowLocalAS(_ *converter, x *session, o *stmt, rest []token) (ok bool, err error) {
	if x.ownAS = 1; len(rest) > 0 {
		x.ownAS, err = oneNumber(o, rest)
	}
	return true, err
}

// errorWait keeps the longer of two times, which comes last. 0 is none at all: a second is where ours begin.
func errorWait(_ *converter, x *session, o *stmt, rest []token) (ok bool, err error) {
	if x.idle, err = strconv.ParseUint(tokenText(rest[max(0, len(rest)-1):]), 10, 32); err != nil {
		return true, &Error{o.file, o.line, fmt.Sprintf("%q: want two numbers", o.text())}
	}
	x.idle = max(x.idle, 1)
	return true, nil
}

func multihop(_ *converter, x *session, o *stmt, rest []token) (ok bool, err error) {
	if x.multihop = 64; len(rest) == 1 {
		x.multihop, err = oneNumber(o, rest)
	}
	return true, err
}

func gracefulRestart(_ *converter, x *session, o *stmt, rest []token) (bool, error) {
	if len(rest) > 1 {
		return false, nil
	}
	x.graceful = "on"
	if is, on := onOff(o, rest); is && !on {
		x.graceful = "off"
	} else if len(rest) == 1 && rest[0].text == "aware" {
		x.graceful = "aware"
	}
	return true, nil
}

// bfdTimers is what is neither on nor off.
func bfdTimers(c *converter, x *session, o *stmt, _ []token) (ok bool, err error) {
	x.bfd = true
	if o.has {
		t, err := c.timersOf(o)
		x.profile = &t
		return true, err
	}
	c.gap(o.pos, "%s: BFD that is down ends the session", o.text())
	return true, nil
}

func device(_ *converter, x *session, o *stmt) error {
	if len(o.words) != 2 || !o.words[1].quoted {
		return &Error{o.file, o.line, fmt.Sprintf("%q: want interface and a name in quotes", o.text())}
	}
	x.device = o.word(1)
	return nil
}

func password(c *converter, x *session, o *stmt) error {
	if len(o.words) != 2 || !o.words[1].quoted {
		return &Error{o.file, o.line, "want password and a text in quotes"}
	}
	x.password = o.word(1)
	c.note(o.pos, "password: md5: has it here; md5-file: keeps it out of the file")
	return nil
}

func otherKeys(c *converter, _ *session, o *stmt) error {
	c.gap(o.pos, "%s: TCP MD5 is all there is", o.word(0))
	return nil
}
