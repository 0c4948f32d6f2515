package domain

import "github.com/hyperfib/hyperfib/examples/hvrouter/config"

// Plain reports whether a namespace needs no policy rules: there is one domain in it,
// in table main, or none.
func Plain(c *config.Config) bool {
	return len(c.Domains) == 0 || len(c.Domains) == 1 && c.Domains[0].Table.ID == tableMain
}

// plain are the rules that every namespace starts with. They are wanted like any
// others, so that a namespace which had more before comes back to them.
func plain() []Rule {
	return []Rule{
		{Table: tableLocal}, {Priority: 32766, Table: tableMain}, {Priority: 32767, Table: tableDefault},
		{IPv6: true, Table: tableLocal}, {IPv6: true, Priority: 32766, Table: tableMain},
	}
}
