package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	mapsof "maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

func maps[V any](m map[string]V) iter.Seq[string] { return mapsof.Keys(m) }

const (
	settling = 2 * time.Minute // until everything that is left over for a while is gone
	// The heap of a daemon after a garbage collection, and its resident memory, may grow by this
	// over what they were in the beginning, with the same guests and sessions: buffers and events in
	// memory, which are bounded, are there once they were needed.
	heapGrowth = 8 << 20
	rssGrowth  = 48 << 20
	// linesAction is how many lines of log an action may be worth, on average, at both
	// hypervisors together.
	linesAction = 60
	// linesQuiet is how many lines there may be in ten seconds in which nothing happens.
	linesQuiet = 3
)

// picture is everything that may be left over of a hypervisor.
type picture struct {
	kernel  map[string][]string // sorted lines, by what they are
	process map[string]usage    // daemon, bfd
	lines   int                 // of its log
	sockets string
}

// usage is what a process uses.
type usage struct {
	fds        map[string]int // by kind
	threads    int
	goroutines int // 0: not known
	heap, rss  uint64
	stacks     string // of the goroutines
}

// settled waits until all is well and, with what was before, as before; it reports what is not.
func (s *soak) settled(before []picture) (now []picture) {
	err := s.until(settling, func() error {
		if err := s.testbed.up(0); err != nil {
			return err
		}
		if err := s.flows(); err != nil {
			return err
		}
		now = nil
		var all []error
		for i, h := range s.hosts {
			if err := h.well(); err != nil {
				return err
			}
			p := h.picture()
			now = append(now, p)
			if before != nil {
				if diff := p.kernelDiff(before[i]); diff != "" {
					all = append(all, fmt.Errorf("hypervisor %d has left over, or lacks:\n%s", h.n, diff))
				}
				if diff := p.usageDiff(before[i]); diff != "" {
					all = append(all, fmt.Errorf("hypervisor %d uses\n%ssockets now:\n%s\nbefore:\n%s", h.n, diff, p.sockets, before[i].sockets))
				}
			}
		}
		for _, n := range s.networks {
			if err := n.well(); err != nil {
				all = append(all, err)
			}
		}
		return errors.Join(all...)
	})
	if err != nil {
		s.t.Errorf("seed %d: %v", *seed, err)
		return now
	}
	lines, more := make([]int, len(s.hosts)), make([]int, len(s.hosts)) // of log; of these in ten seconds
	for range 5 {                                                       // sessions that were reset have a line when they are stable
		for i, h := range s.hosts {
			lines[i] = h.lines()
		}
		time.Sleep(10 * time.Second)
		for i, h := range s.hosts {
			more[i] = h.lines() - lines[i]
		}
		if slices.Max(more) <= linesQuiet {
			break
		}
	}
	actions := 0
	for _, n := range s.counts {
		actions += n
	}
	for i, h := range s.hosts {
		if more[i] > linesQuiet {
			s.t.Errorf("seed %d: hypervisor %d has logged %d lines in ten seconds in which nothing happened", *seed, h.n, more[i])
		}
		for name, u := range now[i].process {
			s.t.Logf("hypervisor %d, %s: %d descriptors, %d threads, %d goroutines, heap %.1f MiB, RSS %.1f MiB", h.n, name, sum(u.fds), u.threads, u.goroutines, float64(u.heap)/(1<<20), float64(u.rss)/(1<<20))
		}
		if before != nil {
			s.t.Logf("hypervisor %d: %d lines of log, %d actions altogether", h.n, lines[i], actions)
			if lines[i] > 500+linesAction*actions {
				s.t.Errorf("seed %d: hypervisor %d has logged %d lines, with %d actions", *seed, h.n, lines[i], actions)
			}
		}
	}
	return now
}

// well returns an error unless the daemon has converged, the kernel is as it wants it to be, and it
// calls itself healthy.
func (h *host) well() error {
	var st api.Status
	if err := h.ask("/v1/status", &st); err != nil {
		return err
	}
	if !st.Converged || st.RoutesFailed > 0 || len(st.FirewallErrors) > 0 {
		return fmt.Errorf("hypervisor %d: %+v", h.n, st)
	}
	if out, err := h.cli("diff"); err != nil || out != "" {
		return fmt.Errorf("hypervisor %d: the kernel is not as desired: %s, %w", h.n, out, err)
	}
	if out, err := h.cli("check", "-config", h.path("hv.yaml")); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if out, err := h.cli("show", "health"); err != nil && len(st.ContendedNow) == 0 {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// well returns an error if the reflector has routes of guests that have gone, or lacks some.
func (n *network) well() error {
	if n.ours {
		return n.wellOurs()
	}
	have := n.routes()
	want := []string{"203.0.113.1/32", "203.0.113.10/32", "203.0.113.2/32", "2001:db8:cb00:1::/64", "2001:db8:cb00:2::/64"}
	seen := map[string]bool{}
	for _, p := range regexp.MustCompile(`(203\.0\.113\.\d+|172\.22\.2\.\d+|2001:db8:cb00:[0-9a-f:]+)/\d+`).FindAllString(have, -1) {
		seen[p] = true
	}
	slices.Sort(want)
	if got := slices.Sorted(maps(seen)); !slices.Equal(got, want) {
		return fmt.Errorf("the reflector of %s has %v, want %v", n.name, got, want)
	}
	return nil
}

// Parts of what the kernel prints that change by themselves.
var (
	ids      = regexp.MustCompile(` (nhid|id) \d+`)
	times    = regexp.MustCompile(` (expires|valid_lft|preferred_lft) \S+`)
	used     = regexp.MustCompile(` (used|probes) \S+`)
	dynamic  = regexp.MustCompile(`\s+elements = \{[^}]*expires[^}]*\}`)
	counters = regexp.MustCompile(`counter packets \d+ bytes \d+`)
	group    = regexp.MustCompile(`group (\S+)`)
	profiled = regexp.MustCompile(`^goroutine profile: total (\d+)`)
)

// picture takes one.
func (h *host) picture() picture {
	p := picture{kernel: map[string][]string{}, process: map[string]usage{}, lines: h.lines(), sockets: h.sockets()}
	lines := func(name, command string, keep func(string) bool) {
		words := strings.Fields(command)
		out, _ := h.hv.Command(words[0], words[1:]...).Output()
		for line := range strings.Lines(string(out)) {
			line = strings.Join(strings.Fields(strings.ReplaceAll(line, `\`, " ")), " ")
			line = used.ReplaceAllString(times.ReplaceAllString(ids.ReplaceAllString(line, ""), ""), "")
			if first, hops, ok := strings.Cut(line, " nexthop "); ok { // in the order of their numbers
				all := strings.Split(hops, " nexthop ")
				slices.Sort(all)
				line = first + " nexthop " + strings.Join(all, " nexthop ")
			}
			if keep == nil || keep(line) {
				p.kernel[name] = append(p.kernel[name], line)
			}
		}
		slices.Sort(p.kernel[name])
	}
	lines("rules", "ip -N rule", nil)
	lines("IPv6 rules", "ip -N -6 rule", nil)
	lines("routes", "ip -N -o route show table all", nil)
	lines("IPv6 routes", "ip -N -o -6 route show table all", nil)
	lines("permanent neighbours", "ip neigh show nud permanent", nil)
	lines("proxied neighbours", "ip neigh show proxy", nil)
	lines("forwarding entries", "bridge fdb show", func(line string) bool {
		return strings.Contains(line, "permanent") || strings.Contains(line, "static") || strings.Contains(line, "00:00:00:00:00:00") || strings.Contains(line, "extern_learn")
	})
	ours := func(line string) bool { return strings.Contains(line, "extern_learn") }
	lines("neighbours of overlays", "ip neigh show nud noarp", ours)
	lines("IPv6 neighbours of overlays", "ip -6 neigh show nud noarp", ours)
	lines("links", "ip -br link", nil)
	lines("addresses", "ip -o addr", nil)
	p.kernel["next hops"] = h.nextHops()
	routes, _ := h.cli("show", "evpn")
	p.kernel["EVPN routes"] = strings.Split(routes, "\n")
	out, _ := h.hv.Command("nft", "list", "ruleset").Output()
	p.kernel["nftables"] = strings.Split(string(counters.ReplaceAll(dynamic.ReplaceAll(out, nil), nil)), "\n")
	for _, dir := range []string{".", "state", "guests"} {
		files, _ := os.ReadDir(h.path(dir))
		for _, f := range files {
			if slices.Contains(known, f.Name()) {
				continue
			}
			p.kernel["files"] = append(p.kernel["files"], filepath.Join(dir, f.Name()))
		}
	}
	h.mu.Lock()
	pid := h.cmd.Process.Pid
	h.mu.Unlock()
	u := usageOf(pid)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, _ = h.api.Text(ctx, "/debug/pprof/heap?gc=1")
	u.stacks, _ = h.api.Text(ctx, "/debug/pprof/goroutine?debug=1")
	metrics, _ := h.api.Text(ctx, "/metrics")
	u.heap = uint64(metric(metrics, "go_memstats_heap_alloc_bytes"))
	if m := profiled.FindStringSubmatch(u.stacks); m != nil { // go_goroutines has some that gather metrics, sometimes more and sometimes less
		u.goroutines, _ = strconv.Atoi(m[1])
	}
	p.process["daemon"] = u
	p.process["bfd"] = usageOf(h.bfd())
	return p
}

// known are files of the test's own, and those of the daemon that are there once they were needed:
// guests by command, the file before the last reload, the file that was rolled back, older events.
var known = []string{"guest.yaml", "bad.yaml", "trial.yaml", "api.sock.guests", "hv.yaml.previous", "hv.yaml.rejected", "events.ndjson.1"}

// nextHops returns the next-hop objects without their numbers.
func (h *host) nextHops() (list []string) {
	out, _ := h.hv.Command("ip", "nexthop", "show").Output()
	byID := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 2 {
			byID[f[1]] = strings.Join(f[2:], " ")
		}
	}
	for _, text := range byID {
		list = append(list, group.ReplaceAllStringFunc(text, func(m string) string {
			var members []string
			for id := range strings.SplitSeq(strings.TrimPrefix(m, "group "), "/") {
				members = append(members, byID[id])
			}
			slices.Sort(members)
			return fmt.Sprint("group ", members)
		}))
	}
	slices.Sort(list)
	return list
}

func (h *host) lines() int {
	log, _ := os.ReadFile(h.path("hv.log"))
	return bytes.Count(log, []byte("\n"))
}

// usageOf returns what a process uses.
func usageOf(pid int) usage {
	u := usage{fds: map[string]int{}}
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, _ := os.ReadDir(dir + "fd")
	for _, f := range fds {
		to, _ := os.Readlink(dir + "fd/" + f.Name())
		kind, _, _ := strings.Cut(to, ":[")
		u.fds[kind]++
	}
	status, _ := os.ReadFile(dir + "status")
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "Threads:":
			u.threads, _ = strconv.Atoi(f[1])
		case len(f) > 1 && f[0] == "VmRSS:":
			n, _ := strconv.ParseUint(f[1], 10, 64)
			u.rss = n << 10
		}
	}
	return u
}

// sockets lists those of all processes in the hypervisor's namespace.
func (h *host) sockets() string {
	out, _ := h.hv.Command("ss", "-anp").Output()
	return string(out)
}

func sum(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// metric returns a value of a page of metrics.
func metric(page, name string) float64 {
	for line := range strings.Lines(page) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			v, _ := strconv.ParseFloat(f[1], 64)
			return v
		}
	}
	return 0
}

// kernelDiff says what there is more and less than before.
func (p picture) kernelDiff(before picture) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps(p.kernel)) {
		more, less := without(p.kernel[name], before.kernel[name]), without(before.kernel[name], p.kernel[name])
		for _, x := range more {
			fmt.Fprintf(&b, "%s: + %s\n", name, x)
		}
		for _, x := range less {
			fmt.Fprintf(&b, "%s: - %s\n", name, x)
		}
	}
	return b.String()
}

// without returns what of a is not in b, as often as it is there.
func without(a, b []string) (out []string) {
	n := map[string]int{}
	for _, x := range b {
		n[x]++
	}
	for _, x := range a {
		if n[x]--; n[x] < 0 {
			out = append(out, x)
		}
	}
	return out
}

// usageDiff says what a process uses more than before.
func (p picture) usageDiff(before picture) string {
	var b strings.Builder
	for name, u := range p.process {
		was := before.process[name]
		for _, kind := range slices.Sorted(maps(u.fds)) {
			most := was.fds[kind]
			if name == "bfd" && kind == "socket" {
				most++ // that of netlink, which stays open since the first dead next hop
			}
			if u.fds[kind] > most {
				fmt.Fprintf(&b, "%s: %d descriptors of %s, before %d\n", name, u.fds[kind], kind, was.fds[kind])
			}
		}
		if u.goroutines > was.goroutines {
			fmt.Fprintf(&b, "%s: %d goroutines, before %d\n%s\nbefore\n%s\n", name, u.goroutines, was.goroutines, u.stacks, was.stacks)
		}
		if u.heap > was.heap+heapGrowth {
			fmt.Fprintf(&b, "%s: a heap of %d octets, before %d\n", name, u.heap, was.heap)
		}
		if u.rss > was.rss+rssGrowth {
			fmt.Fprintf(&b, "%s: %d octets of memory, before %d\n", name, u.rss, was.rss)
		}
	}
	return b.String()
}
