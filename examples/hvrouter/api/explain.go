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
	// From is the guest, or the interface, that the packets come from; "" is this host itself.
	From string
	// Source is their source address; the zero Addr is the guest's own.
	Source netip.Addr
}

// Explanation says what happens to packets to one destination, and why.
type Explanation struct {
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
	var q Question
	err := only(r, "prefix", "from", "source")
	if err != nil {
		return nil, err
	}
	if q.Prefix, err = ParsePrefix(r.URL.Query().Get("prefix")); err != nil {
		return nil, bad(err)
	}
	q.From = r.URL.Query().Get("from")
	if text := r.URL.Query().Get("source"); text != "" {
		if q.Source, err = netip.ParseAddr(text); err != nil {
			return nil, bad(fmt.Errorf("source: %w", err))
		}
	}
	e, err := b.Explain(q)
	if errors.Is(err, ErrNotFound) {
		return nil, status{http.StatusNotFound, err}
	}
	return e, err
}
