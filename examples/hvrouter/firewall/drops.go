package firewall

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// count adds up the counters of a table's drops by their names.
func count(conn *nftables.Conn, table *nftables.Table, drops map[string]uint64) error {
	chains, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return err
	}
	for _, c := range chains {
		if c.Table.Name != table.Name {
			continue
		}
		rules, err := conn.GetRules(c.Table, c)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if name, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
				drops[name] += packets(r)
			}
		}
	}
	return nil
}

func packets(r *nftables.Rule) (n uint64) {
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok {
			n += c.Packets
		}
	}
	return n
}
