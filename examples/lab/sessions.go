package main

import (
	"errors"
	"fmt"

	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// sessionsFit says what the choice of sessions does not go together with.
func (o *options) sessionsFit() error {
	t := o.topology.Timing
	if !t.Shared() && !t.OneSided() {
		return nil
	}
	var err error
	no := func(wrong bool, why string) {
		if wrong {
			err = errors.Join(err, fmt.Errorf("-sessions %s: %s", t.Sessions, why))
		}
	}
	no(t.OneReflector, "not with -one-reflector, whose sessions run over both fabrics")
	no(t.Shared() && t.Apart(), "domains in two namespaces cannot share a session")
	no(o.topology.Edge == topology.Bird, "the edge router announces several next hops, which only ours does")
	for _, f := range plan.Fabrics {
		k := o.topology.RR[f]
		no(k != topology.Self && k != topology.Bird && k != topology.FRR, fmt.Sprintf("the lab has no configuration of %s that takes several paths of a prefix", k))
	}
	return err
}
