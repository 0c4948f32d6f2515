// Package conf writes the configuration of every routing daemon in the lab, as
// text, from the plan. It is pure.
package conf

import (
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
	// Deaf are the fabrics whose reflector speaks no BFD.
	Deaf []plan.Fabric
	// OneReflector says that one reflector, on both fabrics, serves both.
	OneReflector bool
	// IPv4Only are the fabrics whose reflector carries no IPv6.
	IPv4Only []plan.Fabric
	// Echo says that reflectors forward, so that ours can watch the deaf ones by
	// packets that come back.
	Echo bool
	// PublicNetNS is the path of a hypervisor's public namespace, where it has one.
	PublicNetNS string
	plan.Lab
}

// Hears says whether the reflector of a fabric speaks BFD.
func (t Timing) Hears(f plan.Fabric) bool { return t.Watched() && !slices.Contains(t.Deaf, f) }

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

// Echoes says whether our routers watch the reflector of a fabric by echo.
func (t Timing) Echoes(f plan.Fabric) bool {
	return t.Watched() && t.Echo && slices.Contains(t.Deaf, f)
}

// Notices says whether our routers notice that a fabric is silent.
func (t Timing) Notices(f plan.Fabric) bool { return t.Hears(f) || t.Echoes(f) }

// watch is the word for it in hvrouter's configuration.
func (t Timing) watch(f plan.Fabric) string {
	if t.Echoes(f) {
		return "echo"
	}
	return onOff(t.Hears(f))
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
