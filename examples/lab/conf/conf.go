// Package conf writes the configuration of every routing daemon in the lab, as
// text, from the plan. It is pure.
package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
)

// Timing is what a run may vary.
type Timing struct {
	BFD        time.Duration // transmit and receive interval
	Multiplier int
	// NoBFD are the fabrics whose reflector speaks no BFD.
	NoBFD []plan.Fabric
	// KeepStale are the fabrics whose reflector keeps the paths of a client that
	// restarts although BFD says that it is gone.
	KeepStale []plan.Fabric
	// Hold and Restart, if not zero, are the hold time and the restart time (RFC 4724, Section 4)
	// that hypervisors offer to every reflector. If they are zero, [Timing.HoldTime] and
	// [Timing.RestartTime] choose by what the reflector does.
	Hold, Restart time.Duration
	// OneReflector says that one reflector, on both fabrics, serves both.
	OneReflector bool
	// IPv4Only are the fabrics whose reflector carries no IPv6.
	IPv4Only []plan.Fabric
	// Echo says that reflectors forward, so that ours can watch those without BFD by
	// packets that come back.
	Echo bool
	// PublicNetNS is the path of a hypervisor's public namespace, where it has one.
	PublicNetNS string
	plan.Lab
}

// SpeaksBFD reports whether the reflector of a fabric speaks BFD.
func (t Timing) SpeaksBFD(f plan.Fabric) bool { return t.Watched() && !slices.Contains(t.NoBFD, f) }

// families lists the families that the reflector of a fabric carries.
func (t Timing) families(f plan.Fabric) []int {
	if slices.Contains(t.IPv4Only, f) {
		return families[:1]
	}
	return families
}

// Serves lists the fabrics that the reflector on a fabric serves.
func (t Timing) Serves(f plan.Fabric) []plan.Fabric {
	if t.OneReflector {
		return plan.Fabrics
	}
	return []plan.Fabric{f}
}

// Echoes reports whether our routers watch the reflector of a fabric by echo.
func (t Timing) Echoes(f plan.Fabric) bool {
	return t.Watched() && t.Echo && slices.Contains(t.NoBFD, f)
}

// Notices reports whether our routers notice that a fabric is silent.
func (t Timing) Notices(f plan.Fabric) bool { return t.SpeaksBFD(f) || t.Echoes(f) }

// watch is the word for it in hvrouter's configuration.
func (t Timing) watch(f plan.Fabric) string {
	if t.Echoes(f) {
		return "echo"
	}
	return onOff(t.SpeaksBFD(f))
}

// The times that hypervisors offer: the usual ones where a reflector notices by BFD that
// a hypervisor is gone and withdraws its routes at once, the short ones where only a
// timer ends them.
const (
	longHold, shortHold       = 90 * time.Second, 9 * time.Second
	longRestart, shortRestart = 120 * time.Second, 10 * time.Second
)

// restart is the restart time that is offered where nothing speaks for another one.
func (t Timing) restart() time.Duration { return cmp.Or(t.Restart, longRestart) }

// HoldTime is the hold time that hypervisors offer. One holds for all their sessions.
func (t Timing) HoldTime() time.Duration {
	switch {
	case t.Hold > 0:
		return t.Hold
	case !t.Watched() || len(t.NoBFD) > 0:
		return shortHold
	}
	return longHold
}

// Flushes reports whether the reflector of a fabric withdraws the routes of a client
// as soon as BFD says that it is gone, also while the client's daemon restarts.
func (t Timing) Flushes(f plan.Fabric) bool {
	return t.SpeaksBFD(f) && !slices.Contains(t.KeepStale, f)
}

// RestartTime is how long the reflector of a fabric is asked to keep the routes of a
// hypervisor whose daemon is away (RFC 4724, Section 4).
func (t Timing) RestartTime(f plan.Fabric) time.Duration {
	if t.Restart == 0 && !t.Flushes(f) {
		return shortRestart
	}
	return t.restart()
}

// Detection is how long BFD takes to notice silence, counted from the last
// packet that arrived.
func (t Timing) Detection() time.Duration { return t.BFD * time.Duration(t.Multiplier) }

// writer collects indented lines.
type writer struct {
	strings.Builder
}

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.Builder, format+"\n", args...)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// What each reflector does with the routes of a client that is gone, as a comment in
// its configuration. It decides the times that hypervisors offer to it.
const (
	flushes = `When BFD says that a client is gone, its routes go at once, also while its daemon
is away (graceful restart): hypervisors can offer a long restart time, 120s.`
	keepsStale = `While a client's daemon is away, bgpd keeps its routes even if bfdd says that the
client is gone: a host that dies during a restart stays announced for the restart
time that it has offered. Hypervisors have "restart-time: 10s" at this reflector.`
	timersOnly = `There is no BFD here. A host that dies stays announced for the %s,
and one that dies while its daemon is away for the restart time, which are the
hypervisors' to offer: "hold-time: 9s", and "restart-time: 10s" at this reflector.`
)

// comment writes text as lines that begin with a mark.
func (w *writer) comment(mark, text string) {
	for l := range strings.Lines(text) {
		w.line("%s %s", mark, strings.TrimSuffix(l, "\n"))
	}
}

// seconds writes a duration as people write times of BGP.
func seconds(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

var families = []int{4, 6}

func localPublic(n int, f plan.Fabric, family int) fmt.Stringer {
	if family == 4 {
		return plan.HVPublic4(n, f)
	}
	return plan.HVPublic6(n, f)
}

func reflectorPublic(f plan.Fabric, family int) fmt.Stringer {
	if family == 4 {
		return plan.RRPublic4(f)
	}
	return plan.RRPublic6(f)
}

func edgePublic(f plan.Fabric, family int) fmt.Stringer {
	if family == 4 {
		return plan.EdgePublic4(f)
	}
	return plan.EdgePublic6(f)
}
