package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/hyperfib/hyperfib/examples/hvrouter/lookup"
)

// Question is about the packets to one address.
type Question struct {
	// Prefix is what is asked about; of one that is no single address its first address
	// stands for all.
	Prefix netip.Prefix
	// Zone is the interface on whose link a link-local address is; "" is any.
	Zone string
	// From is the guest, or the interface, that the packets come from; "" is this host itself.
	From string
	// Source is their source address; the zero Addr is the guest's own.
	Source netip.Addr
}

// Destination returns the address and its zone, or the prefix.
func (q *Question) Destination() string {
	if q.Zone != "" {
		return q.Prefix.Addr().WithZone(q.Zone).String()
	}
	return q.Prefix.String()
}

// ParseQuestion reads a question: from and source may be "".
func ParseQuestion(destination, from, source string) (q Question, err error) {
	q.From = from
	if a, err := netip.ParseAddr(destination); err == nil && a.Zone() != "" {
		if !a.IsLinkLocalUnicast() && !a.IsLinkLocalMulticast() {
			return q, fmt.Errorf("%q has a zone, and is no link-local address", destination)
		}
		q.Zone, destination = a.Zone(), a.WithZone("").String()
	}
	if q.Prefix, err = ParsePrefix(destination); err != nil || source == "" {
		return q, err
	}
	if q.Source, err = netip.ParseAddr(source); err != nil {
		return q, fmt.Errorf("source: %w", err)
	}
	if q.Source.Zone() != "" {
		return q, fmt.Errorf("source: %q has a zone: name the interface as what the packets come from", source)
	}
	return q, nil
}

// Explanation says what happens to packets to one destination, and why.
type Explanation struct {
	// Prefix is what was asked about: a prefix, or a link-local address with its zone.
	Prefix string `json:"prefix"`
	From   string `json:"from,omitempty"`
	// Kernel is what the kernel does with them, of each namespace.
	Kernel []lookup.Report `json:"kernel"`
	// Lines say where the daemon knows the prefix from, why each path won or lost, and to whom
	// it is announced.
	Lines []string `json:"lines"`
}

// Text formats the explanation for people: where the kernel differs comes first.
func (e *Explanation) Text() (lines []string) {
	for i := range e.Kernel {
		lines = append(lines, e.Kernel[i].Lines()...)
	}
	return append(lines, e.Lines...)
}

// explain answers a question: prefix, from and source. What is wrong with it is the client's
// mistake.
func explain(b Backend, r *http.Request) (any, error) {
	if err := only(r, "prefix", "from", "source"); err != nil {
		return nil, err
	}
	values := r.URL.Query()
	q, err := ParseQuestion(values.Get("prefix"), values.Get("from"), values.Get("source"))
	if err != nil {
		return nil, bad(err)
	}
	e, err := b.Explain(q)
	if errors.Is(err, ErrNotFound) {
		return nil, status{http.StatusNotFound, err}
	}
	return e, err
}
