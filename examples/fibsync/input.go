package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/hyperfib/hyperfib/fib"
)

// line is one line of input.
type line struct {
	Prefix netip.Prefix `json:"prefix"`
	Type   string       `json:"type"`
	Via    []string     `json:"via"` // "gateway link", or "link" alone
	OnLink bool         `json:"onlink"`
	Metric uint32       `json:"metric"`
	Source netip.Addr   `json:"src"`
	Delete bool         `json:"delete"`
	Sync   bool         `json:"sync"`
}

// read makes everything in r desired.
func read(r io.Reader, f *fib.FIB, table uint32) error {
	links := linkNames{f: f}
	in := json.NewDecoder(r)
	in.DisallowUnknownFields()
	for n := 1; ; n++ {
		var l line
		if err := in.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("route %d: %w", n, err)
		}
		if err := apply(&l, f, table, &links); err != nil {
			return fmt.Errorf("route %d: %w", n, err)
		}
	}
}

func apply(l *line, f *fib.FIB, table uint32, links *linkNames) error {
	key := fib.RouteKey{Table: table, Prefix: l.Prefix, Metric: l.Metric}
	switch {
	case l.Sync:
		f.Sweep()
		return nil
	case l.Delete:
		return f.DeleteRoute(key)
	}
	r := fib.Route{RouteKey: key, PrefSrc: l.Source}
	types := map[string]fib.RouteType{"": 0, "unicast": fib.RouteUnicast, "blackhole": fib.RouteBlackhole,
		"unreachable": fib.RouteUnreachable, "prohibit": fib.RouteProhibit, "throw": fib.RouteThrow}
	var ok bool
	if r.Type, ok = types[l.Type]; !ok {
		return fmt.Errorf("unknown type %q", l.Type)
	}
	for _, v := range l.Via {
		hop, err := hop(v, links)
		if err != nil {
			return err
		}
		hop.OnLink = l.OnLink
		r.NextHops = append(r.NextHops, hop)
	}
	return f.SetRoute(r)
}

func hop(s string, links *linkNames) (h fib.NextHop, err error) {
	words := strings.Fields(s)
	if len(words) == 0 || len(words) > 2 {
		return h, fmt.Errorf("via %q: want a gateway and a link, or a link", s)
	}
	if len(words) == 2 {
		if h.Gateway, err = netip.ParseAddr(words[0]); err != nil {
			return h, err
		}
	}
	name := words[len(words)-1]
	if h.IfIndex, err = links.index(name); err != nil {
		return h, err
	}
	return h, nil
}

// linkNames knows the interfaces by name. The FIB follows one that is made again.
type linkNames struct {
	f       *fib.FIB
	indexes map[string]int
}

func (l *linkNames) index(name string) (int, error) {
	if l.indexes[name] == 0 {
		l.indexes = map[string]int{}
		for _, link := range l.f.Links() {
			l.indexes[link.Interface] = link.IfIndex
		}
	}
	if l.indexes[name] == 0 {
		return 0, fmt.Errorf("no link %q", name)
	}
	return l.indexes[name], nil
}
