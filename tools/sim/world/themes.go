package world

import (
	"slices"
	"strings"
	"time"
)

// A theme draws a few kinds of faults only, as they come together where a rule is hard to keep. Its
// worlds have fewer faults than others, and each seed is another one.
var themes = map[string]func(d *drawer, at time.Duration) (pause time.Duration){
	"kernel":   (*drawer).kernelTheme,
	"restart":  (*drawer).restartTheme,
	"paths":    (*drawer).pathsTheme,
	"families": (*drawer).familiesTheme,
	"bfd":      (*drawer).bfdTheme,
}

// Themes returns the names of the themes that a world may have.
func Themes() string {
	var names []string
	for name := range themes {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Themed reports whether there is a theme of that name; all faults are the theme "".
func Themed(name string) bool { return name == "" || themes[name] != nil }

// step draws what happens at a time, and how long it is until something else does.
func (d *drawer) step(at, end time.Duration) (pause time.Duration) {
	if t := themes[d.config.Theme]; t != nil {
		return t(d, at)
	}
	d.faults(at, end)
	return d.pause()
}

// between draws a time.
func (d *drawer) between(a, b time.Duration) time.Duration {
	return a + time.Duration(d.random.Float64()*float64(b-a))
}

// kernelTheme: the kernel refuses, or what is said of it is lost, while guests come and go and
// another program changes what is ours.
func (d *drawer) kernelTheme(at time.Duration) time.Duration {
	h := d.host()
	if d.random.IntN(2) == 0 {
		d.add(at, "kernel refuse %s %d %s", h, 1+d.random.IntN(10), d.one("ENOBUFS", "ENOMEM", "EBUSY"))
	} else {
		d.add(at, "kernel %s %s %d", d.one("lose", "late", "interrupt"), h, 5+d.random.IntN(20))
	}
	for range 1 + d.random.IntN(3) {
		if at := d.between(at, at+2*time.Second); d.random.IntN(2) == 0 {
			d.add(at, "guest move g%d %s", d.some(), h)
		} else {
			d.add(at, "foreign %s %s %d", h, d.one("delete-route", "delete-route", "delete-nexthop", "delete-rule", "replace-nexthop", "flush"), d.random.IntN(1000))
		}
	}
	if d.random.IntN(4) == 0 {
		d.add(at, "kill %s", h)
		d.add(d.between(at, at+500*time.Millisecond), "start %s", h)
	}
	return d.between(40*time.Second, time.Minute)
}

// restartTheme: a daemon restarts while a reflector is away, or both are, and guests come and go.
func (d *drawer) restartTheme(at time.Duration) time.Duration {
	h, back := d.host(), d.between(at+6*time.Second, at+25*time.Second)
	d.add(at, "kill %s", h)
	for _, f := range []string{"A", "B"} {
		if d.random.IntN(3) == 0 {
			continue
		}
		away := d.between(at-500*time.Millisecond, at+time.Second)
		switch d.random.IntN(3) {
		case 0:
			d.add(away, "cut rr %s", f)
			d.add(back, "heal rr %s", f)
		case 1:
			d.add(away, "rr stop %s", f)
			d.add(back, "rr cont %s", f)
		default:
			d.add(away, "rr kill %s", f)
			d.add(back, "rr start %s", f)
		}
	}
	g := d.some()
	switch moved := d.between(at, back); d.random.IntN(3) {
	case 0:
		d.add(moved, "guest go g%d", g)
		if d.random.IntN(2) == 0 { // else it is gone for good, and nobody answers for it
			d.add(back+time.Minute, "guest come g%d %s", g, d.host())
		}
	case 1:
		d.add(moved, "guest move g%d %s", g, d.host())
	}
	d.add(d.between(at+100*time.Millisecond, at+5*time.Second), "start %s", h)
	return d.between(2*time.Minute, 3*time.Minute)
}

// pathsTheme: the paths of a hypervisor fail one after the other while its daemon is away, and come
// back before it does; or a reflector goes, and what its clients retain is all that they have.
func (d *drawer) pathsTheme(at time.Duration) time.Duration {
	h := d.host()
	first, second := "A", "B"
	if d.random.IntN(2) == 0 {
		first, second = second, first
	}
	switch d.random.IntN(4) {
	case 0:
		d.add(at, "rr kill %s", first)
		d.add(d.between(at, at+3*time.Second), "rr kill %s", second)
		for _, f := range []string{first, second} {
			d.add(d.between(at+4*time.Second, at+20*time.Second), "rr start %s", f)
		}
	default:
		d.add(at, "%s %s", d.one("kill", "kill", "stop"), h)
		cut := d.between(at, at+3*time.Second)
		d.add(cut, "cut %s %s %s", h, first, d.one("both", "in", "out"))
		again := d.between(cut, cut+6*time.Second)
		d.add(again, "cut %s %s %s", h, second, d.one("both", "in", "out"))
		healed := d.between(again, again+10*time.Second)
		d.add(healed, "heal %s %s", h, d.one(first, second))
		for _, text := range []string{"start " + h, "cont " + h, "heal " + h + " A", "heal " + h + " B"} {
			d.add(d.between(healed+5*time.Second, healed+30*time.Second), "%s", text)
		}
	}
	return d.between(2*time.Minute, 3*time.Minute)
}

// sessionsOfTheme are the sessions that the worlds of a theme have, where they are not those of any
// seed.
var sessionsOfTheme = map[string][]Sessions{"families": {SessionsShared, SessionsBoth}}

// familiesTheme: what a session carries for two domains or families comes apart, since packets are
// lost when a daemon is back or the sessions of a reload are, while guests come and go.
func (d *drawer) familiesTheme(at time.Duration) time.Duration {
	h := d.host()
	whole := d.between(at+10*time.Second, at+20*time.Second)
	for _, f := range []string{"A", "B"} {
		if d.random.IntN(3) > 0 {
			d.add(at, "impair %s %s %s", h, f, d.one("loss 0.2", "jitter 150ms"))
			d.add(at, "impair rr %s %s", f, d.one("loss 0.2", "loss 0.4", "jitter 150ms"))
		}
		d.add(whole, "heal %s %s", h, f)
		d.add(whole, "heal rr %s", f)
	}
	switch d.random.IntN(4) {
	case 0:
		d.add(d.between(at, at+2*time.Second), "reload %s hold %s", h, d.one("60", "90", "120"))
	default:
		d.add(at, "kill %s", h)
		d.add(d.between(at+100*time.Millisecond, at+3*time.Second), "start %s", h)
	}
	for range 1 + d.random.IntN(2) {
		g := d.some()
		switch d.random.IntN(2) {
		case 0:
			d.add(d.between(at, whole), "guest move g%d %s", g, d.host())
		default:
			d.add(d.between(at, whole), "guest go g%d", g)
			d.add(d.between(whole, whole+20*time.Second), "guest come g%d %s", g, d.host())
		}
	}
	return d.between(80*time.Second, 2*time.Minute)
}

// bfdTheme: the interval of BFD changes while packets are lost for less than an interval; and a successor
// of the BFD process dies at any moment of the handover.
func (d *drawer) bfdTheme(at time.Duration) time.Duration {
	h := d.host()
	if d.random.IntN(2) == 0 {
		step := d.handover(at, h)
		d.add(d.between(at, at+6*step), "bfd %s %s", d.one("kill-successor", "kill-successor", "kill-predecessor"), h)
		return d.between(30*time.Second, time.Minute)
	}
	f, cut := d.network(), d.between(at-250*time.Millisecond, at)
	d.add(cut, "cut %s %s %s", h, f, d.one("both", "in", "out"))
	d.add(d.between(at, cut+295*time.Millisecond), "heal %s %s", h, f)
	d.add(at, "reload %s interval %s", h, d.one("1", "2", "4", "8"))
	return d.between(30*time.Second, time.Minute)
}
