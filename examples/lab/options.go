package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/lab/experiment"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// options is a parsed command line.
type options struct {
	topology    topology.Options
	experiments []experiment.Experiment
	json        string
	logs        string
	hold        bool
	web         string // where the page is served, "": nowhere
	dir         string

	linger time.Duration
	times  float64

	report report.Report
}

// words are the flags that say what kind of lab it is, as they were given.
type words struct {
	only, rr, tor, stay, hv, edge, bfd string
	list, one, noEcho                  bool
	choices                            map[string]*string
}

// parse reads the command line; on nil the program ends with the code.
func parse(args []string) (*options, int) {
	o, w := &options{}, &words{choices: map[string]*string{}}
	fs := o.flags(w)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, 0
		}
		return nil, 2
	}
	if w.list {
		listExperiments()
		return nil, 0
	}
	err := errors.Join(o.apply(w), o.bounds())
	if fs.NArg() > 0 {
		err = errors.Join(err, fmt.Errorf("what is %q?", fs.Arg(0)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return nil, 2
	}
	o.report.Config = map[string]string{}
	fs.VisitAll(func(f *flag.Flag) { o.report.Config[f.Name] = f.Value.String() })
	return o, 0
}

func (o *options) flags(w *words) *flag.FlagSet {
	fs := flag.NewFlagSet("lab", flag.ContinueOnError)
	fs.StringVar(&w.only, "only", "", "run these experiments, comma separated, or all (see -list)")
	fs.BoolVar(&w.list, "list", false, "list the experiments")
	fs.StringVar(&w.rr, "rr", "self", fmt.Sprintf("who reflects, one of %v, or one a fabric: bird,frr", topology.ReflectorKinds))
	fs.StringVar(&w.tor, "tor", "", fmt.Sprintf("with -mode ebgp-tor: who the top-of-rack routers are, one of %v, or one a fabric (default self)", topology.TorKinds))
	fs.StringVar(&w.stay, "reflectors", "", "with -mode ebgp-tor: these hypervisors stay with reflectors, and spines join them with the others: hv2, or hv1,hv3")
	fs.StringVar(&w.hv, "hv", "self", "who is on the hypervisors: self or bird, or only on some: bird@2, bird@1,bird@3")
	fs.StringVar(&w.edge, "edge", "", "who is the edge router: self or bird (default: self, or bird if everybody else is)")
	fs.StringVar(&w.bfd, "bfd", "100ms,5", "BFD interval and multiplier")
	fs.BoolVar(&w.one, "one-reflector", false, "one reflector, on both fabrics, for both: -rr self or bird")
	fs.BoolVar(&w.noEcho, "no-echo", false, "reflectors do not forward: what speaks no BFD is not watched by echo either")
	t := &o.topology.Timing
	fs.DurationVar(&t.Hold, "hold-time", 0, "hold `time` that hypervisors offer; 0: 90s, or 9s if a reflector speaks no BFD")
	fs.DurationVar(&t.Restart, "restart-time", 0, "restart `time` that hypervisors offer; 0: 120s, or 10s to reflectors that keep a dead client's routes for it")
	fs.IntVar(&t.PerHV, "guests-per-hv", 0, fmt.Sprintf("let every hypervisor have this many guests besides the four, to %d", plan.MaxPerHV))
	fs.IntVar(&o.topology.Bulk, "routes", 0, "let the edge router announce this many prefixes of 10.0.0.0/8 besides the defaults")
	fs.StringVar(&o.topology.Configs, "hv-config", "", "hypervisors of ours read hv1.yaml, hv2.yaml, hv3.yaml of this `directory`, without api, such as hvrouter convert makes them, in place of what the lab writes")
	fs.StringVar(&o.json, "json", "", "write the verdicts to this `file`")
	fs.StringVar(&o.logs, "logs", "", "copy logs and configurations to this `directory` at the end")
	fs.DurationVar(&o.linger, "linger", 4*time.Second, "how long traffic goes on after a daemon was restarted")
	fs.Float64Var(&o.times, "times", 1, "multiply the limits of times (not those of losses), for a machine that is busy")
	fs.StringVar(&o.dir, "dir", sandbox.DefaultDir(), "`directory` for the lab's own files; it stays empty outside of the lab")
	fs.StringVar(&o.web, "web", "", "leave the lab up, with a page for browsers at this loopback `ADDRESS` and port, such as 127.0.0.1:8179, that shows it from the beginning, and runs experiments once those of -only are done")
	fs.BoolVar(&o.hold, "hold", false, "leave the lab up until interrupted")
	for name, can := range plan.Choices {
		w.choices[name] = fs.String(name, can[0], "one of "+strings.Join(can, ", "))
	}
	return fs
}

func listExperiments() {
	for _, e := range experiment.All() {
		extra := ""
		if e.Extra {
			extra = " (only if asked for)"
		}
		if e.When != nil && !e.When(plan.Lab{}) {
			extra += " (not with the default settings)"
		}
		fmt.Printf("%-11s %s%s\n", e.Name, e.Title, extra)
	}
}

// apply makes roles, the variant and the list of experiments of the words.
func (o *options) apply(w *words) error {
	t := &o.topology.Timing
	err := errors.Join(o.hypervisors(w.hv), o.timing(w.bfd))
	for name, value := range w.choices {
		err = errors.Join(err, t.Set(name, *value))
	}
	err = errors.Join(err, o.stay(w.stay), o.neighbors(w))
	t.Echo, t.OneReflector = !w.noEcho, w.one
	if k, ok := o.topology.RR[plan.A]; ok && w.one && (k != o.topology.RR[plan.B] || k != topology.Self && k != topology.Bird) {
		err = errors.Join(err, fmt.Errorf("-one-reflector -rr %s: want self or bird", w.rr))
	}
	err = errors.Join(err, o.choose(w.only))
	if w.edge != "" {
		k, bad := kind(w.edge, topology.Kinds)
		o.topology.Edge, err = k, errors.Join(err, bad)
	} else if o.allBird() {
		o.topology.Edge = topology.Bird
	}
	return errors.Join(err, o.sessionsFit(), o.overlayFits())
}

// bounds checks numbers, and who can do what was chosen.
func (o *options) bounds() (err error) {
	t := o.topology.Timing
	no := func(wrong bool, format string, args ...any) {
		if wrong {
			err = errors.Join(err, fmt.Errorf(format, args...))
		}
	}
	no(o.topology.Bulk < 0 || o.topology.Bulk > 1<<20, "-routes %d: want 0 to %d", o.topology.Bulk, 1<<20)
	no(t.PerHV < 0 || t.PerHV > plan.MaxPerHV, "-guests-per-hv %d: want 0 to %d", t.PerHV, plan.MaxPerHV)
	no(t.PerHV > 0 && !o.allOwn(), "-guests-per-hv wants hypervisors of ours alone")
	no(!t.Published() && !o.allOwn(), "the published design's alternatives are for hypervisors of ours alone")
	no(t.Hold != 0 && t.Hold < 3*time.Second || t.Hold%time.Second != 0, "-hold-time %v: want at least 3s, in whole seconds", t.Hold)
	no(t.Restart < 0 || t.Restart > 4095*time.Second || t.Restart%time.Second != 0, "-restart-time %v: want 1s to 4095s, in whole seconds", t.Restart)
	return err
}

// neighbors says who is on the other side of the hypervisors' sessions.
func (o *options) neighbors(w *words) error {
	switch tors := o.topology.Timing.ToRs(); {
	case !tors && w.tor != "":
		return errors.New("-tor goes with -mode ebgp-tor")
	case !tors:
		return eachFabric(&o.topology.RR, "-rr", w.rr, topology.ReflectorKinds)
	case !o.topology.Timing.Mixed() && w.rr != string(topology.Self):
		return errors.New("-rr: there are no reflectors with -mode ebgp-tor, see -tor and -reflectors")
	case o.topology.Timing.Mixed():
		if err := eachFabric(&o.topology.RR, "-reflectors "+w.stay+" -rr", w.rr, topology.Kinds); err != nil {
			return err
		}
	}
	for name := range strings.SplitSeq(w.tor, ",") {
		if why := topology.Kind(name).NoTor(); why != "" {
			return fmt.Errorf("-tor %s: %s", name, why)
		}
	}
	return errors.Join(eachFabric(&o.topology.Tor, "-tor", cmp.Or(w.tor, string(topology.Self)), topology.TorKinds), o.underlayFits(w))
}

// stay reads which hypervisors stay with reflectors.
func (o *options) stay(s string) error {
	if s == "" {
		return nil
	}
	t := &o.topology.Timing
	for name := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(strings.TrimPrefix(name, "hv"))
		if err != nil || n < 1 || n > plan.HVs || name != plan.HVName(n) || slices.Contains(t.Stay, n) {
			return fmt.Errorf("-reflectors %s: want some of hv1 to hv%d", s, plan.HVs)
		}
		t.Stay = append(t.Stay, n)
	}
	switch {
	case !t.ToRs():
		return errors.New("-reflectors goes with -mode ebgp-tor: everywhere else all hypervisors have them")
	case len(t.Stay) == plan.HVs:
		return errors.New("-reflectors: at least one hypervisor must have top-of-rack routers")
	}
	return nil
}

// underlayFits says what routed fabrics do not go together with.
func (o *options) underlayFits(w *words) (err error) {
	t := o.topology.Timing
	for what, wrong := range map[string]bool{
		"-sessions: there is one a domain and router":                            !t.Is("sessions", plan.SessionsSplit),
		"-security: the routers have no MD5 keys here, and send eBGP with TTL 1": !t.Is("security", plan.SecurityTTL),
		"-dhcp relay: the server would be a host beside a reflector":             t.Is("dhcp", plan.DHCPRelay),
		"-one-reflector: there are none, or one a fabric":                        w.one,
		"-edge bird: it has no configuration here":                               w.edge == string(topology.Bird),
	} {
		if wrong {
			err = errors.Join(err, fmt.Errorf("-mode ebgp-tor does not go with %s", what))
		}
	}
	return err
}

// overlayFits says what EVPN does not go together with.
func (o *options) overlayFits() (err error) {
	t := o.topology.Timing
	if !t.EVPN() {
		return nil
	}
	if t.ToRs() || !t.Is("sessions", plan.SessionsSplit) {
		err = errors.New("-overlay evpn goes with reflectors and -sessions split: the private domain's sessions carry it")
	}
	for _, f := range plan.Fabrics {
		if k, ok := o.topology.RR[f]; ok && !k.EVPN() {
			err = errors.Join(err, fmt.Errorf("-overlay evpn -rr %s: it speaks no EVPN here, self, frr and gobgp do", k))
		}
	}
	return err
}

// eachFabric reads one kind for both fabrics, or one for each.
func eachFabric(to *map[plan.Fabric]topology.Kind, name, s string, can []topology.Kind) error {
	kinds := strings.Split(s, ",")
	if len(kinds) > len(plan.Fabrics) {
		return fmt.Errorf("%s %s: there are two fabrics", name, s)
	}
	out := map[plan.Fabric]topology.Kind{}
	for i, f := range plan.Fabrics {
		k, err := kind(kinds[min(i, len(kinds)-1)], can)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out[f] = k
	}
	*to = out
	return nil
}

func (o *options) hypervisors(s string) error {
	o.topology.HV = map[int]topology.Kind{}
	for part := range strings.SplitSeq(s, ",") {
		name, number, some := strings.Cut(part, "@")
		k, err := kind(name, topology.Kinds)
		if err != nil {
			return fmt.Errorf("-hv: %w", err)
		}
		if some {
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || n > plan.HVs {
				return fmt.Errorf("-hv %s: there are hypervisors 1 to %d", s, plan.HVs)
			}
			o.topology.HV[n] = k
			continue
		}
		for n := 1; n <= plan.HVs; n++ {
			o.topology.HV[n] = k
		}
	}
	return nil
}

// allOwn reports whether hvrouter runs on every hypervisor.
func (o *options) allOwn() bool {
	for _, k := range o.topology.HV {
		if k != topology.Self {
			return false
		}
	}
	return true
}

// allBird reports whether BIRD is in every other role.
func (o *options) allBird() bool {
	for _, k := range o.topology.RR {
		if k != topology.Bird {
			return false
		}
	}
	for n := 1; n <= plan.HVs; n++ {
		if o.topology.HV[n] != topology.Bird {
			return false
		}
	}
	return true
}

func kind(s string, can []topology.Kind) (topology.Kind, error) {
	if k := topology.Kind(s); slices.Contains(can, k) {
		return k, nil
	}
	return "", fmt.Errorf("%q: want one of %v", s, can)
}

func (o *options) timing(s string) error {
	interval, multiplier, _ := strings.Cut(s, ",")
	d, err := time.ParseDuration(interval)
	n, err2 := strconv.Atoi(multiplier)
	if err != nil || err2 != nil || d < time.Millisecond || n < 1 || n > 255 {
		return fmt.Errorf("-bfd %s: want an interval and a multiplier, for example 100ms,5", s)
	}
	o.topology.Timing.BFD, o.topology.Timing.Multiplier = d, n
	return nil
}

// choose picks the experiments. All others need the sessions, so that experiment is always
// there.
func (o *options) choose(only string) error {
	all := experiment.All()
	if only == "" || only == "all" {
		for _, a := range all {
			if (!a.Extra || only == "all") && (a.When == nil || a.When(o.topology.Timing.Lab)) {
				o.experiments = append(o.experiments, a)
			}
		}
		return nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.ContainsFunc(all, func(a experiment.Experiment) bool { return a.Name == name }) {
			if name == "crowd" {
				return errors.New("-only crowd: its name is load now")
			}
			return fmt.Errorf("-only %s: there is no experiment of that name (see -list)", name)
		}
	}
	for i, a := range all {
		leases := a.Name == "guests" && !o.topology.Timing.Is("dhcp", plan.DHCPNone)
		if a.When != nil && !a.When(o.topology.Timing.Lab) && slices.Contains(names, a.Name) {
			return fmt.Errorf("-only %s: this lab has no such experiment", a.Name)
		}
		if i == 0 || leases || slices.Contains(names, a.Name) {
			o.experiments = append(o.experiments, a)
		}
	}
	return nil
}
