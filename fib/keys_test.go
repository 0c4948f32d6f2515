package fib

import (
	"net/netip"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// gatewayKey names a gateway that GatewayDown was called for.
type gatewayKey struct {
	IfIndex int32
	Gateway netip.Addr
}

const metricIPv6 = 1024 // IP6_RT_PRIO_USER: what 0 means

// normal is the rule as the kernel has it.
func (r Rule) normal() Rule { return ruleOf(coreRule(r).Normal()) }

// routeDump asks for the routes of a table.
func routeDump(f Family, table uint32) []byte { return fibcore.RouteDump(wire.Family(f), table, 0) }
