package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// scope is where a number of a table must be unique.
type scope struct {
	netns NetNS
	table uint32
}

// String names the table, and its namespace if that is not the daemon's own.
func (s scope) String() string {
	if s.netns == "" {
		return fmt.Sprint(s.table)
	}
	return fmt.Sprintf("%d in netns %s", s.table, s.netns)
}

// netns checks the name of a namespace.
func (k *checker) netns(path string, n NetNS) {
	if strings.Contains(string(n), "/") && !filepath.IsAbs(string(n)) || n == "." || n == ".." || strings.ContainsAny(string(n), " \x00") {
		k.bad(path, "%q: want a name (below %s) or an absolute path", n, strings.TrimSuffix(netnsDir, "/"))
	}
}

// namespaces checks what the namespaces of domains have to do with each other.
func (k *checker) namespaces(c *Config) {
	for i, d := range c.Domains {
		path := fmt.Sprintf("$.domains[%d]", i)
		k.netns(path+".netns", d.NetNS)
		if d.Table.ID == tableMain {
			k.main(path, c, d)
		}
		if d.Loopback && d.NetNS != c.LoopbackNetNS() {
			k.bad(path+".loopback", "the loopback address is in another namespace already (%s)", c.LoopbackNetNS().orOwn())
		}
	}
	if c.LocalOut == nil {
		return
	}
	for i, name := range c.LocalOut.Domains {
		if d := c.Domain(name); d != nil && d.NetNS != "" {
			k.bad(fmt.Sprintf("$.local-out.domains[%d]", i), "%s is in netns %s: local-out is a table of the daemon's own namespace", name, d.NetNS)
		}
	}
}

// main checks a domain that has the kernel's table main.
func (k *checker) main(path string, c *Config, d Domain) {
	for _, o := range c.Domains {
		if o.NetNS == d.NetNS && o.Name != d.Name {
			k.bad(path+".table", "table main is for a domain that is alone in its namespace, %s is there too", o.Name)
			return
		}
	}
	switch {
	case d.NetNS == "" && c.LocalOut != nil:
		k.bad(path+".table", "table main leaves no place for local-out: what the hypervisor sends is looked up in main")
	case d.NetNS == "" && c.Rules != nil:
		k.bad(path+".table", "table main is for a namespace without rules")
	case c.Isolation != IsolationRules && c.Isolation != IsolationNetNS:
		k.bad(path+".table", "table main is for a namespace without rules: isolation: %s makes some", c.Isolation)
	case c.LastResortBy == "rules" && d.LastResort != "none":
		k.bad(path+".last-resort", "table main is looked up by the kernel's own rule: its last resort cannot be a rule")
	}
}

func (n NetNS) orOwn() string {
	if n == "" {
		return "the daemon's own"
	}
	return string(n)
}
