package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// renamed are the keys that had another name before v0.1.0, each with the mapping that it
// stood in ("" is the file itself) and its name now. CHANGELOG.md has the same table.
var renamed = map[string]string{
	".domain-by":           "isolation",
	".mark-mask":           "fwmark-mask",
	".guests-from":         "guest-templates",
	".wall":                "firewall",
	"domains.mark":         "fwmark",
	"domains.learn":        "redistribute",
	"domains.spread":       "anycast-ecmp",
	"reflectors.ways":      "advertise-next-hops",
	"sessions.ways":        "advertise-next-hops",
	"ipv4.mark":            "fwmark",
	"ipv4.mask":            "fwmask",
	"ipv6.mark":            "fwmark",
	"ipv6.mask":            "fwmask",
	"import.least":         "ge",
	"import.most":          "le",
	"export.least":         "ge",
	"export.most":          "le",
	"edge.length4":         "prefix-length4",
	"guests.find":          "discovery",
	"guest-templates.find": "discovery",
	"discovery.learn":      "routes",
	"discovery.discover":   "neighbors",
	"discovery.most":       "maximum",
}

// renamedValues are values of keys that had another name.
var renamedValues = map[string]map[string]string{
	"isolation": {"interface": "rules", "mark": "fwmark"},
}

// oldNames reports every key and value of a document that has another name now. in is the
// mapping that the document stands for: "", or guests.
func oldNames(doc *ast.File, in string) (m mistakes) {
	for _, d := range doc.Docs {
		m.oldNames(d.Body, in)
	}
	return m
}

func (m *mistakes) oldNames(n ast.Node, in string) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			m.oldNames(v, in)
		}
	case *ast.MappingValueNode:
		if n.Key.IsMergeKey() {
			m.oldNames(n.Value, in)
			return
		}
		key := n.Key.GetToken().Value
		if now, ok := renamed[in+"."+key]; ok {
			m.add(n.Key, "%s is called %s now", key, now)
			key = now
		}
		if text, ok := n.Value.(ast.ScalarNode); ok {
			old := fmt.Sprint(text.GetValue())
			if now, ok := renamedValues[key][old]; ok {
				m.add(n.Value, "%s: %s is called %s now", key, old, now)
			}
		}
		m.oldNames(n.Value, key)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			m.oldNames(v, in)
		}
	case *ast.AnchorNode:
		m.oldNames(n.Value, in)
	case *ast.TagNode:
		m.oldNames(n.Value, in)
	}
}
