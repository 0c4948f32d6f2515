package fakekernel

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
	"github.com/hyperfib/hyperfib/internal/rtnl"
	"golang.org/x/sys/unix"
)

// Tables of the kernel's own.
const (
	tableDefault = 253 // RT_TABLE_DEFAULT
	tableLocal   = 255 // RT_TABLE_LOCAL
)

// AddDefaultRules adds the rules that a namespace of a family has from the start, without
// a notification.
func (k *Kernel) AddDefaultRules(family wire.Family) {
	add := func(priority, table uint32) {
		r := wire.Rule{Family: family, Priority: priority, Table: table}.Normal()
		k.insertRule(wire.KernelRule{Rule: r, Protocol: rtnl.RTPROT_KERNEL})
	}
	add(0, tableLocal)
	add(32766, rtnl.RT_TABLE_MAIN)
	if family == wire.FamilyIPv4 {
		add(32767, tableDefault)
	}
}

// insertRule puts a rule behind those of its priority.
func (k *Kernel) insertRule(r wire.KernelRule) {
	at := slices.IndexFunc(k.rules, func(q wire.KernelRule) bool { return q.Family == r.Family && q.Priority > r.Priority })
	if at < 0 {
		at = len(k.rules)
	}
	k.rules = slices.Insert(k.rules, at, r)
}

// rule adds or deletes one as net/core/fib_rules.c does.
func (k *Kernel) rule(msg rtnl.Message) unix.Errno {
	var r wire.KernelRule
	if r.Parse(msg.Body) != nil {
		return unix.EINVAL
	}
	if msg.Type == rtnl.RTM_NEWRULE {
		if msg.Flags&rtnl.NLM_F_EXCL != 0 && slices.ContainsFunc(k.rules, func(q wire.KernelRule) bool { return exists(&r, q) }) {
			return unix.EEXIST
		}
		k.insertRule(r)
		k.changed(Change{NewRule: &r})
		k.notify(msg.Type, 0, msg.Body)
		return 0
	}
	i := slices.IndexFunc(k.rules, func(q wire.KernelRule) bool { return deletes(&r, &q) })
	if i < 0 {
		return unix.ENOENT
	}
	old := k.rules[i]
	k.rules = slices.Delete(k.rules, i, i+1)
	k.changed(Change{OldRule: &old})
	b := wire.AppendRule(nil, rtnl.RTM_DELRULE, 0, 0, old.Rule, old.Protocol)
	k.notify(rtnl.RTM_DELRULE, 0, b[rtnl.SizeHeader:])
	return 0
}

// exists is rule_exists: it does not look at FIB_RULE_INVERT and FRA_GOTO, and at addresses
// and TOS only if the request names them (fib4_rule_compare, fib6_rule_compare).
func exists(r *wire.KernelRule, q wire.KernelRule) bool {
	q.Not, q.Target = r.Not, r.Target
	if !r.From.IsValid() {
		q.From = r.From
	}
	if !r.To.IsValid() {
		q.To = r.To
	}
	if r.TOS == 0 {
		q.TOS = 0
	}
	return q == *r
}

// deletes is rule_find: what the request does not name matches anything.
func deletes(k, r *wire.KernelRule) bool {
	switch {
	case k.Family != r.Family || k.Priority != r.Priority || k.Action != r.Action:
	case k.Table != 0 && k.Table != r.Table:
	case k.IIF != "" && k.IIF != r.IIF:
	case k.OIF != "" && k.OIF != r.OIF:
	case k.Mark != 0 && k.Mark != r.Mark:
	case k.Mask != 0 && k.Mask != r.Mask:
	case k.Protocol != 0 && k.Protocol != r.Protocol:
	case k.From.IsValid() && k.From != r.From:
	case k.To.IsValid() && k.To != r.To:
	default:
		return true
	}
	return false
}
