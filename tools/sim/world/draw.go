package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Draw makes the faults of a seed: lines of a scenario, "+12.5s kill h3", in the order of their
// times. Most faults have an end some time later; a quiet time follows at the end of each period,
// in which everything is whole again and the world is checked.
func Draw(c Config, length time.Duration) []string {
	d := drawer{config: c, random: rand.New(rand.NewPCG(c.Seed, 0xfa17)), guests: map[int]int{}}
	for n := range c.Hosts * c.Guests {
		d.guests[n+1] = n/c.Guests + 1
	}
	d.next = c.Hosts*c.Guests + 1
	at := firstFault
	for begin := time.Duration(0); begin < length; begin += period {
		end := min(begin+period, length)
		for at < end-calm {
			at += d.step(at, end-calm)
		}
		d.add(end-calm, "everyone whole")
		d.add(end-time.Second, "everyone check")
		at = end + firstFault/10
	}
	slices.SortStableFunc(d.lines, func(a, b drawn) int { return int(a.at - b.at) })
	lines := make([]string, len(d.lines))
	for i, l := range d.lines {
		lines[i] = fmt.Sprintf("+%v %s", l.at.Round(time.Millisecond), l.text)
	}
	return lines
}

const (
	// period is how long it is from one check to the next.
	period = 20 * time.Minute
	// firstFault is when everything of the start has settled.
	firstFault = 60 * time.Second
	// calm is the quiet time before a check: longer than every timer that a fault may have
	// started, but for the longest back-offs.
	calm = 4 * time.Minute
)

// drawer draws faults.
type drawer struct {
	config Config
	random *rand.Rand
	lines  []drawn
	guests map[int]int // where each guest is
	next   int         // the number of the next guest
	same   string      // the hypervisor that most faults are drawn for; empty: any
}

type drawn struct {
	at   time.Duration
	text string
}

func (d *drawer) add(at time.Duration, format string, args ...any) {
	d.lines = append(d.lines, drawn{at, fmt.Sprintf(format, args...)})
}

// pause is the time between two faults.
func (d *drawer) pause() time.Duration {
	mean := 25 * time.Second
	if d.config.Faults > 0 {
		mean = time.Duration(atOnce * float64(time.Minute) / d.config.Faults * float64(period-calm) / float64(period))
	}
	return time.Duration(d.random.ExpFloat64() * float64(mean))
}

// atOnce is how many faults come together, on average: one to three of kinds, and two of some kinds.
const atOnce = 1.7

// host draws a hypervisor.
func (d *drawer) host() string {
	if d.same != "" && d.random.IntN(4) > 0 {
		return d.same
	}
	return hostName(1 + d.random.IntN(d.config.Hosts))
}

// handover draws a handover, by a successor of this or of the version before, and returns how long
// each of its steps takes.
func (d *drawer) handover(at time.Duration, h string) time.Duration {
	step := []time.Duration{100 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond, 130 * time.Millisecond}[d.random.IntN(4)]
	d.add(at, "bfd handover %s %v version %s", h, step, d.one("1", "2", "2"))
	return step
}

// foreign draws what another program does.
func (d *drawer) foreign() string {
	return d.one("delete-route", "delete-nexthop", "delete-rule", "replace-route", "replace-nexthop", "shrink-group", "flush")
}

func (d *drawer) fabric() string { return []string{"A", "B"}[d.random.IntN(2)] }

// network is a fabric or, more rarely, one network of it.
func (d *drawer) network() string {
	if d.random.IntN(3) == 0 {
		return networks[d.random.IntN(len(networks))].name
	}
	return d.fabric()
}

func (d *drawer) one(list ...string) string { return list[d.random.IntN(len(list))] }

// lasting is how long a fault lasts: from milliseconds to minutes.
func (d *drawer) lasting() time.Duration {
	scale := []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second, time.Minute}[d.random.IntN(4)]
	return scale + time.Duration(d.random.Float64()*4*float64(scale))
}

// kinds are the faults, with how often each is drawn.
var kinds = []struct {
	weight int
	draw   func(d *drawer, at, end time.Duration)
}{
	{10, func(d *drawer, at, end time.Duration) { // a silent cut
		h, f := d.host(), d.network()
		d.add(at, "cut %s %s %s", h, f, d.one("both", "in", "out"))
		d.add(end, "heal %s %s", h, f)
	}},
	{6, func(d *drawer, at, end time.Duration) {
		h, f := d.host(), d.network()
		d.add(at, "carrier %s %s down", h, f)
		d.add(end, "carrier %s %s up", h, f)
	}},
	{6, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "die %s", h)
		d.add(max(end, at+5*time.Second), "boot %s", h)
	}},
	{14, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "kill %s", h)
		d.add(end, "start %s", h)
	}},
	{5, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "stop %s", h)
		d.add(end, "cont %s", h)
	}},
	{3, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "slow %s %v", h, d.one("1ms", "20ms", "200ms"))
		d.add(end, "slow %s 0s", h)
	}},
	{4, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "bfd kill %s", h)
		d.add(min(end, at+10*time.Second), "bfd start %s", h)
	}},
	{4, func(d *drawer, at, end time.Duration) { d.handover(at, d.host()) }},
	{4, func(d *drawer, at, end time.Duration) { // which one of the two does not survive
		h := d.host()
		step := d.handover(at, h)
		d.add(at+time.Duration(d.random.Float64()*6*float64(step)), "bfd %s %s", d.one("kill-successor", "kill-successor", "kill-predecessor"), h)
	}},
	{3, func(d *drawer, at, end time.Duration) { // an upgrade: both processes are replaced
		h := d.host()
		d.handover(at, h)
		d.add(at+time.Duration(d.random.IntN(2000))*time.Millisecond, "kill %s", h)
		d.add(at+time.Duration(2000+d.random.IntN(3000))*time.Millisecond, "start %s", h)
	}},
	{6, func(d *drawer, at, end time.Duration) {
		h, f := d.host(), d.network()
		d.add(at, "impair %s %s %s", h, f, d.one("loss 0.02", "loss 0.2", "copies 0.3", "delay 2ms", "delay 40ms", "jitter 5ms", "jitter 150ms"))
		d.add(end, "heal %s %s", h, f)
	}},
	{3, func(d *drawer, at, end time.Duration) {
		d.add(at, "stall %s %s %v", d.host(), d.network(), min(end-at, 2*time.Minute).Round(time.Millisecond))
	}},
	{4, func(d *drawer, at, end time.Duration) { d.add(at, "reset %s %s", d.host(), d.network()) }},
	{3, func(d *drawer, at, end time.Duration) {
		f := d.network()
		d.add(at, "rr kill %s", f)
		d.add(end, "rr %s %s", d.one("start", "start", "cold"), f)
	}},
	{2, func(d *drawer, at, end time.Duration) {
		f := d.network()
		d.add(at, "cut rr %s", f)
		d.add(end, "heal rr %s", f)
	}},
	{1, func(d *drawer, at, end time.Duration) {
		f := d.network()
		d.add(at, "rr stop %s", f)
		d.add(end, "rr cont %s", f)
	}},
	{5, func(d *drawer, at, end time.Duration) {
		d.add(at, "kernel %s %s %d", d.one("lose", "late", "copy", "interrupt"), d.host(), 1+d.random.IntN(20))
	}},
	{4, func(d *drawer, at, end time.Duration) {
		d.add(at, "kernel refuse %s %d %s", d.host(), 1+d.random.IntN(10), d.one("ENOBUFS", "ENOMEM", "EBUSY", "EINVAL", "ENODEV"))
	}},
	{6, func(d *drawer, at, end time.Duration) {
		d.add(at, "foreign %s %s %d", d.host(), d.foreign(), d.random.IntN(1000))
	}},
	{3, func(d *drawer, at, end time.Duration) { // and its word is lost, or the kernel cannot be read
		h := d.host()
		d.add(at, "kernel %s %s %d", d.one("lose", "interrupt"), h, 1+d.random.IntN(30))
		d.add(at+time.Duration(d.random.IntN(300))*time.Millisecond, "foreign %s %s %d", h, d.foreign(), d.random.IntN(1000))
		if d.random.IntN(2) == 0 {
			d.add(at, "kill %s", h)
			d.add(at+time.Duration(d.random.IntN(500))*time.Millisecond, "start %s", h)
		}
	}},
	{2, func(d *drawer, at, end time.Duration) { // both processes of a host at the same moment
		h := d.host()
		d.add(at, "kill %s", h)
		d.add(at, "bfd kill %s", h)
		d.add(end, "start %s", h)
	}},
	{1, func(d *drawer, at, end time.Duration) {
		d.add(at, "clock %s %s", d.host(), d.one("1h", "-1h", "3s", "-3s"))
	}},
	{12, (*drawer).guest},
	{3, func(d *drawer, at, end time.Duration) {
		d.add(at, "reload %s %s", d.host(), d.one("same", "good", "bad", "harmful"))
	}},
	{5, func(d *drawer, at, end time.Duration) {
		d.add(at, "reload %s %s", d.host(), d.one("interval 1", "interval 2", "interval 4", "hold 60", "hold 90", "community 0", "community 7", "unreachable 0", "unreachable 2"))
	}},
	{2, func(d *drawer, at, end time.Duration) {
		h := d.host()
		d.add(at, "drain %s", h)
		d.add(end, "undrain %s", h)
	}},
}

// guest is what happens to guests.
func (d *drawer) guest(at, end time.Duration) {
	n := d.some()
	switch d.random.IntN(6) {
	case 0:
		d.add(at, "guest come g%d %s", d.next, d.host())
		d.guests[d.next] = 1
		d.next++
	case 1:
		d.add(at, "guest go g%d", n)
		d.add(end, "guest come g%d %s", n, d.host())
	case 2:
		h := d.host()
		d.add(at, "guest claim g%d %s", n, h)
		d.add(end, "guest unclaim g%d %s", n, h)
	default:
		d.add(at, "guest move g%d %s", n, d.host())
	}
}

// some draws a guest.
func (d *drawer) some() int { return 1 + d.random.IntN(max(d.next-1, 1)) }

// fault draws one fault that begins at a time and ends before end, and is not there already.
func (d *drawer) fault(at, end time.Duration) {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	for {
		before, pick := len(d.lines), d.random.IntN(total)
		for _, k := range kinds {
			if pick -= k.weight; pick < 0 {
				k.draw(d, at, min(at+d.lasting(), end))
				break
			}
		}
		if !d.repeats(at, before) {
			return
		}
		d.lines = d.lines[:before] // another one
	}
}

// repeats reports whether one of the lines from a number on says at a moment what another one says
// already. A scenario counts milliseconds.
func (d *drawer) repeats(at time.Duration, from int) bool {
	moment := at.Round(time.Millisecond)
	same := func(a, b drawn) bool {
		return a.text == b.text && a.at.Round(time.Millisecond) == b.at.Round(time.Millisecond)
	}
	return slices.ContainsFunc(d.lines[from:], func(l drawn) bool {
		return l.at.Round(time.Millisecond) == moment && slices.ContainsFunc(d.lines[:from], func(o drawn) bool { return same(l, o) })
	})
}

// faults draws one fault or, more rarely, two or three within moments of each other, mostly at one
// hypervisor: each begins while the one before has just been noticed, or has not yet.
func (d *drawer) faults(at, end time.Duration) {
	d.fault(at, end)
	if d.random.IntN(3) > 0 {
		return
	}
	d.same = d.host()
	for range 1 + d.random.IntN(2) {
		moment := []time.Duration{0, 5 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second}[d.random.IntN(4)]
		at += time.Duration(d.random.Float64() * float64(moment))
		d.fault(at, max(at, end))
	}
	d.same = ""
}

// Split returns the time and the words of a line.
func Split(line string) (at time.Duration, words []string, err error) {
	words = strings.Fields(line)
	if len(words) > 1 && strings.HasPrefix(words[0], "+") {
		at, err = time.ParseDuration(words[0][1:])
		return at, words[1:], err
	}
	return 0, words, nil
}
