package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hyperfib/hyperfib/bgp/wire"
)

// rule is a policy, written twice: as the package has it, and for the model.
type rule struct {
	real  Policy
	model func(*modelRoute) Verdict
}

// modelRoute is what the model's policies change.
type modelRoute struct {
	prefix netip.Prefix
	attrs  wire.PathAttrs
	nh     wire.NextHop
	local  bool
}

func (r *modelRoute) pref() uint32 {
	if r.attrs.LocalPref == nil {
		return 100
	}
	return *r.attrs.LocalPref
}

// The ready-made policies and the setters of Route, by name. What follows = is the argument, and
// a policy with a condition in front is CONDITION?POLICY. Policies joined by + are a Chain.
var ruleMakers = map[string]func(w *words, arg string) rule{
	"accept": func(*words, string) rule { return rule{AcceptAll, func(*modelRoute) Verdict { return VerdictAccept }} },
	"reject": func(*words, string) rule { return rule{RejectAll, func(*modelRoute) Verdict { return VerdictReject }} },
	"local-pref": func(w *words, arg string) rule {
		v := w.uint32(arg)
		return rule{SetLocalPref(v), edit(func(r *modelRoute) { r.attrs.LocalPref = &v })}
	},
	"med": func(w *words, arg string) rule {
		v := w.uint32(arg)
		return rule{SetMED(v), edit(func(r *modelRoute) { r.attrs.MED = &v })}
	},
	"no-med": func(*words, string) rule {
		return rule{setter((*Route).DeleteMED), edit(func(r *modelRoute) { r.attrs.MED = nil })}
	},
	"add": func(w *words, arg string) rule {
		c := w.communities(arg)[0]
		return rule{AddCommunity(c), edit(func(r *modelRoute) { r.attrs.Communities = with(r.attrs.Communities, c) })}
	},
	"delete": func(w *words, arg string) rule {
		c := w.communities(arg)[0]
		return rule{DeleteCommunity(c), edit(func(r *modelRoute) { r.attrs.Communities = without(r.attrs.Communities, c) })}
	},
	"set": func(w *words, arg string) rule {
		cs := w.communities(arg)
		return rule{SetCommunities(cs...), edit(func(r *modelRoute) { r.attrs.Communities = cs })}
	},
	"add-large": func(w *words, arg string) rule {
		c := w.large(arg)
		return rule{AddLargeCommunity(c), edit(func(r *modelRoute) { r.attrs.LargeCommunities = with(r.attrs.LargeCommunities, c) })}
	},
	"delete-large": func(w *words, arg string) rule {
		c := w.large(arg)
		return rule{DeleteLargeCommunity(c), edit(func(r *modelRoute) { r.attrs.LargeCommunities = without(r.attrs.LargeCommunities, c) })}
	},
	"add-ext": func(w *words, arg string) rule {
		c := w.ext(arg)
		return rule{AddExtCommunity(c), edit(func(r *modelRoute) { r.attrs.ExtCommunities = with(r.attrs.ExtCommunities, c) })}
	},
	"delete-ext": func(w *words, arg string) rule {
		c := w.ext(arg)
		return rule{DeleteExtCommunity(c), edit(func(r *modelRoute) { r.attrs.ExtCommunities = without(r.attrs.ExtCommunities, c) })}
	},
	"bandwidth": func(w *words, arg string) rule {
		n, err := strconv.Atoi(arg)
		if err != nil {
			w.fail("%v", err)
		}
		return rule{SetLinkBandwidth(float32(n)), edit(func(r *modelRoute) {
			r.attrs.ExtCommunities = slices.DeleteFunc(slices.Clone(r.attrs.ExtCommunities), func(c wire.ExtCommunity) bool { return c>>48&0xbfff == 4 })
			if n > 0 {
				r.attrs.ExtCommunities = append(r.attrs.ExtCommunities, wire.LinkBandwidth(65000, float32(n)))
			}
		})}
	},
	"self": func(*words, string) rule {
		return rule{NextHopSelf, edit(func(r *modelRoute) { r.nh = wire.NextHop{} })}
	},
	"next-hop": func(w *words, arg string) rule {
		nh := wire.NextHop{Addr: ip(arg)}
		return rule{setter(func(r *Route) { r.SetNextHop(nh) }), edit(func(r *modelRoute) { r.nh = nh })}
	},
	"prepend": func(w *words, arg string) rule {
		as := w.uint32(arg)
		return rule{Prepend(as, 2), edit(func(r *modelRoute) {
			r.attrs.ASPath = slices.Concat([]uint32{as, as}, r.attrs.ASPath)
		})}
	},
	"graceful-shutdown": func(*words, string) rule {
		return rule{GracefulShutdown, edit(func(r *modelRoute) {
			if slices.Contains(r.attrs.Communities, wire.CommunityGracefulShutdown) {
				r.attrs.LocalPref = ptr(0)
			}
		})}
	},
	"on-link": func(w *words, arg string) rule {
		var list []netip.Prefix
		for _, s := range strings.Split(arg, ",") {
			list = append(list, pfx(s))
		}
		return rule{OnLink(list...), func(r *modelRoute) Verdict {
			if slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(r.nh.Addr) }) {
				return VerdictNext
			}
			return VerdictReject
		}}
	},
}

// Conditions, by name.
var conditionMakers = map[string]func(w *words, arg string) (Match, func(*modelRoute) bool){
	"community": func(w *words, arg string) (Match, func(*modelRoute) bool) {
		c := w.communities(arg)[0]
		return HasCommunity(c), func(r *modelRoute) bool { return slices.Contains(r.attrs.Communities, c) }
	},
	"large": func(w *words, arg string) (Match, func(*modelRoute) bool) {
		c := w.large(arg)
		return HasLargeCommunity(c), func(r *modelRoute) bool { return slices.Contains(r.attrs.LargeCommunities, c) }
	},
	"ext": func(w *words, arg string) (Match, func(*modelRoute) bool) {
		c := w.ext(arg)
		return HasExtCommunity(c), func(r *modelRoute) bool { return slices.Contains(r.attrs.ExtCommunities, c) }
	},
	"path": func(w *words, arg string) (Match, func(*modelRoute) bool) {
		as := w.uint32(arg)
		return ASPathHas(as), func(r *modelRoute) bool { return slices.Contains(r.attrs.ASPath, as) }
	},
	"local": func(*words, string) (Match, func(*modelRoute) bool) {
		return IsLocal, func(r *modelRoute) bool { return r.local }
	},
	"default": func(*words, string) (Match, func(*modelRoute) bool) {
		return IsDefault, func(r *modelRoute) bool { return r.prefix.Addr().IsUnspecified() && r.prefix.Bits() == 0 }
	},
	"within": func(w *words, arg string) (Match, func(*modelRoute) bool) { // 10.0.0.0/8:16-24: lengths 16 to 24
		var e PrefixRange
		prefix, lengths, _ := strings.Cut(arg, ":")
		if _, err := fmt.Sscanf(lengths, "%d-%d", &e.Min, &e.Max); err != nil {
			w.fail("%v", err)
		}
		e.Prefix = pfx(prefix)
		return PrefixIn(e), func(r *modelRoute) bool {
			return r.prefix.Bits() >= e.Min && r.prefix.Bits() <= e.Max && e.Prefix.Overlaps(r.prefix)
		}
	},
	"pref": func(w *words, arg string) (Match, func(*modelRoute) bool) {
		v := w.uint32(arg)
		return func(r *Route) bool { return r.LocalPref() == v }, func(r *modelRoute) bool { return r.pref() == v }
	},
}

// setter is a policy that only changes a route.
func setter(f func(*Route)) Policy { return func(r *Route) Verdict { f(r); return VerdictNext } }

// edit is setter for the model.
func edit(f func(*modelRoute)) func(*modelRoute) Verdict {
	return func(r *modelRoute) Verdict { f(r); return VerdictNext }
}

func with[T comparable](list []T, x T) []T {
	if slices.Contains(list, x) {
		return list
	}
	return append(slices.Clone(list), x)
}

func without[T comparable](list []T, x T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(y T) bool { return y == x })
}

func (w *words) uint32(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		w.fail("%v", err)
	}
	return uint32(n)
}

// policy takes a policy, nil if it is "none". The same words are the same policy.
func (m *machine) policy(w *words) *rule {
	text := w.next()
	if text == "none" {
		return nil
	}
	r := m.rules[text]
	if r == nil {
		if m.rules == nil {
			m.rules = map[string]*rule{}
		}
		r = w.chain(text)
		m.rules[text] = r
	}
	return r
}

func (w *words) chain(text string) *rule {
	var all []rule
	for _, s := range strings.Split(text, "+") {
		all = append(all, w.rule(s))
	}
	reals := make([]Policy, len(all))
	for i := range all {
		reals[i] = all[i].real
	}
	return &rule{Chain(reals...), func(r *modelRoute) Verdict {
		for _, one := range all {
			if v := one.model(r); v != VerdictNext {
				return v
			}
		}
		return VerdictNext
	}}
}

func (w *words) rule(s string) rule {
	if cond, then, ok := strings.Cut(s, "?"); ok {
		not := strings.HasPrefix(cond, "!")
		name, arg, _ := strings.Cut(strings.TrimPrefix(cond, "!"), "=")
		mk := conditionMakers[name]
		if mk == nil {
			w.fail("no condition %q", name)
			return rule{AcceptAll, nil}
		}
		match, model := mk(w, arg)
		if not {
			match = Not(match)
		}
		r := w.rule(then)
		return rule{If(match, r.real), func(x *modelRoute) Verdict {
			if model(x) != not {
				return r.model(x)
			}
			return VerdictNext
		}}
	}
	name, arg, _ := strings.Cut(s, "=")
	mk := ruleMakers[name]
	if mk == nil {
		w.fail("no policy %q", name)
		return rule{AcceptAll, nil}
	}
	return mk(w, arg)
}
