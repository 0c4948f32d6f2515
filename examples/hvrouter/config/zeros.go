package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// notZero are the keys whose 0 means nothing: they have a default, which stands for a key
// that is not given, and 0 is none of the values that they may have. In a list of guests
// the path begins with [].
var notZero = map[string]bool{
	"fwmark-mask":  true,
	"bfd.interval": true, "bfd.multiplier": true, "bfd.strict-hold-time": true, "bfd.profiles[].interval": true, "bfd.profiles[].multiplier": true,
	"bgp.port": true, "bgp.connect-retry": true, "bgp.multipath": true,
	"bgp.graceful-restart.time": true, "bgp.graceful-restart.deferral": true,
	"bgp.prefix-limit.threshold": true, "bgp.prefix-limit.restart-after": true,
	"domains[].reflectors[].prefix-limit.threshold": true, "domains[].reflectors[].prefix-limit.restart-after": true,
	"sessions[].prefix-limit.threshold": true, "sessions[].prefix-limit.restart-after": true,
	"domains[].fwmark": true, "domains[].metric": true,
	"domains[].reflectors[].as": true, "domains[].reflectors[].restart-time": true, "sessions[].as": true, "sessions[].restart-time": true,
	"domains[].neighbors[].prefix-limit.threshold": true, "domains[].neighbors[].prefix-limit.restart-after": true,
	"domains[].neighbors[].as": true, "domains[].neighbors[].restart-time": true, "domains[].neighbors[].local-as": true, "domains[].neighbors[].multihop": true,
	"edge.prefix-length4": true, "edge.metric": true, "edge.dhcp.lease": true,
	"edge.ra.interval": true, "edge.ra.hop-limit": true, "edge.ra.valid": true,
	"guests[].ra.interval": true, "guests[].ra.hop-limit": true, "guests[].ra.valid": true,
	"guest-templates[].ra.interval": true, "guest-templates[].ra.hop-limit": true, "guest-templates[].ra.valid": true,
	"guests[].rate": true, "guests[].discovery.maximum": true,
	"guest-templates[].rate": true, "guest-templates[].discovery.maximum": true,
	"overlays[].port": true, "overlays[].mtu": true,
}

// conditions are the keys of a policy's term that say what it matches: one without a value would be
// no condition, and the term would match every route.
var conditions = map[string]bool{"prefix": true, "prefixes": true, "community": true}

// LOCAL_PREF 0 is a value like any other, although the key has a default.
const localPref = ".local-pref"

// zeros reports such keys that are given as 0, and conditions of terms that are given without a value:
// the default would take their place without a word. It returns the lists' elements that have a local-pref of 0, as "guests[2]". prefix is what the document's own paths begin with.
func (k *checker) zeros(prefix string) map[string]bool {
	z := zeros{checker: k, unpreferred: map[string]bool{}}
	if !empty(k.doc) {
		z.in(prefix, prefix, k.doc.Docs[0].Body)
	}
	return z.unpreferred
}

type zeros struct {
	*checker
	unpreferred map[string]bool
}

// in walks through a node; path is where it is without the indexes of lists, exact with
// them.
func (z zeros) in(path, exact string, node ast.Node) {
	switch n := node.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			z.in(path, exact, v)
		}
	case *ast.MappingValueNode:
		key := strings.TrimPrefix(path+"."+n.Key.GetToken().Value, ".")
		z.in(key, strings.TrimPrefix(exact+"."+n.Key.GetToken().Value, "."), n.Value)
	case *ast.SequenceNode:
		for i, v := range n.Values {
			z.in(path+"[]", fmt.Sprintf("%s[%d]", exact, i), v)
		}
	case *ast.AnchorNode:
		z.in(path, exact, n.Value)
	case *ast.NullNode:
		if key := path[strings.LastIndexByte(path, '.')+1:]; conditions[key] && (strings.HasSuffix(path, ".import[]."+key) || strings.HasSuffix(path, ".export[]."+key)) {
			z.errs.add(node, "%s has no value, and the term would match every route: leave it out if that is meant", key)
		}
	default:
		text, ok := scalar(node)
		if of, is := strings.CutSuffix(exact, localPref); ok && is && isZero(text) {
			z.unpreferred[of] = true
		}
		if ok && notZero[path] && isZero(text) {
			z.errs.add(node, "%s is not a value of %s; leave the key out for its default", text, path)
		}
	}
}

func isZero(text string) bool {
	if n, err := strconv.ParseUint(text, 0, 64); err == nil {
		return n == 0
	}
	d, err := time.ParseDuration(text)
	return err == nil && d == 0
}
