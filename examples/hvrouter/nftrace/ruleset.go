package nftrace

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// Ruleset is the tables of a namespace.
type Ruleset struct {
	// Table is the name of hvrouter's table.
	Table string
	// Chains are its chains by name; nil if there is no such table.
	Chains map[string]*Chain
	// Sets are its sets by name.
	Sets map[string]*Set
	// Foreign are the base chains of other tables, by priority.
	Foreign []BaseChain
	// Legacy are the tables of iptables that are not nftables'.
	Legacy []string
}

// Chain is a chain with its rules.
type Chain struct {
	*nftables.Chain
	Rules []Rule
}

// Rule is a rule; Comment is what `nft list` shows of it.
type Rule struct {
	Comment string
	Exprs   []expr.Any
}

// Set is a set and its elements.
type Set struct {
	*nftables.Set
	Elements []nftables.SetElement
}

// Read reads the tables of the namespace at path, "" for the process's own. It needs
// CAP_NET_ADMIN there.
func Read(path, table string) (r *Ruleset, err error) {
	r = &Ruleset{Table: table}
	err = whole(path, func(conn *nftables.Conn) error {
		*r = Ruleset{Table: table}
		r.legacy()
		if err := r.foreign(); err != nil {
			return fmt.Errorf("chains: %w", err)
		}
		t, err := conn.ListTableOfFamily(table, nftables.TableFamilyINet)
		if errors.Is(err, unix.ENOENT) || err == nil && t == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		return r.own(conn, t)
	})
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return r, nil
}

// legacy lists the tables of iptables with rules of their own engine (x_tables).
func (r *Ruleset) legacy() {
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		data, err := os.ReadFile("/proc/thread-self/net/" + name)
		if err != nil {
			continue
		}
		for table := range strings.FieldsSeq(string(data)) {
			r.Legacy = append(r.Legacy, strings.TrimSuffix(name, "_tables_names")+"tables "+table)
		}
	}
}

// foreign reads the base chains of others. Ours are one table for IP and one for ARP.
func (r *Ruleset) foreign() error {
	all, err := baseChains()
	if err != nil {
		return err
	}
	for _, c := range all {
		if f := c.Table.Family; c.Table.Name != r.Table || f != nftables.TableFamilyINet && f != nftables.TableFamilyARP {
			r.Foreign = append(r.Foreign, c)
		}
	}
	slices.SortStableFunc(r.Foreign, func(a, b BaseChain) int { return cmp.Compare(*a.Priority, *b.Priority) })
	return nil
}

// own reads hvrouter's table.
func (r *Ruleset) own(conn *nftables.Conn, t *nftables.Table) error {
	r.Chains, r.Sets = map[string]*Chain{}, map[string]*Set{}
	all, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return fmt.Errorf("chains: %w", err)
	}
	for _, c := range all {
		if c.Table.Name != t.Name {
			continue
		}
		rules, err := conn.GetRules(t, c)
		if err != nil {
			return fmt.Errorf("chain %s: %w", c.Name, err)
		}
		one := &Chain{Chain: c}
		for _, rule := range rules {
			comment, _ := userdata.GetString(rule.UserData, userdata.TypeComment)
			one.Rules = append(one.Rules, Rule{comment, rule.Exprs})
		}
		r.Chains[c.Name] = one
	}
	sets, err := conn.GetSets(t)
	if err != nil {
		return fmt.Errorf("sets: %w", err)
	}
	for _, s := range sets {
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
		r.Sets[s.Name] = &Set{s, elements}
	}
	return nil
}
