package fibcore

import (
	"testing"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
)

func TestFilter(t *testing.T) {
	m := wire.RouteMessage{Facts: wire.Facts{Family: wire.FamilyIPv4, Type: wire.RouteUnicast, Protocol: 3}, Table: 90, NextHops: []wire.NextHop{{IfIndex: 2}}}
	last := m
	last.Metric = metricLastResort
	hole := m
	hole.Type = wire.RouteBlackhole
	redirect := m
	redirect.Protocol = rtnl.RTPROT_REDIRECT
	for what, c := range map[string]struct {
		f    LearnFilter
		m    wire.RouteMessage
		want bool
	}{
		"plain":           {LearnFilter{Tables: []uint32{90}}, m, true},
		"another table":   {LearnFilter{Tables: []uint32{91}}, m, false},
		"another family":  {LearnFilter{Tables: []uint32{90}, Family: wire.FamilyIPv6}, m, false},
		"last resort":     {LearnFilter{Tables: []uint32{90}}, last, false},
		"blackhole":       {LearnFilter{Tables: []uint32{90}}, hole, false},
		"blackhole asked": {LearnFilter{Tables: []uint32{90}, Types: []wire.RouteType{wire.RouteBlackhole}}, hole, true},
		"unicast not":     {LearnFilter{Tables: []uint32{90}, Types: []wire.RouteType{wire.RouteBlackhole}}, m, false},
		"redirect":        {LearnFilter{Tables: []uint32{90}}, redirect, false},
		"redirect asked":  {LearnFilter{Tables: []uint32{90}, Protocols: []uint8{1}}, redirect, true},
		"link":            {LearnFilter{Tables: []uint32{90}, IfIndexes: []int{2}}, m, true},
		"another link":    {LearnFilter{Tables: []uint32{90}, IfIndexes: []int{3}}, m, false},
	} {
		if got := c.f.accepts(&c.m); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}
