package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/journal"
)

// view is something to show: how to decode it and how people see it.
type view struct {
	path  string
	print func(w io.Writer, data []byte) error
	// filters are the query parameters that leave some of it.
	filters []string
}

// views are what there is to show, with the filters that each has: their flags are the parameters
// of the API.
func views() map[string]view {
	return map[string]view{
		"sessions":   {"/v1/sessions", table(sessionRows), []string{"peer", "domain", "interface"}},
		"bfd":        {"/v1/bfd", table(bfdRows), []string{"peer", "interface"}},
		"rib":        {"/v1/rib", table(ribRows), []string{"domain", "prefix"}},
		"fib":        {"/v1/fib", table(fibRows), []string{"table", "prefix"}},
		"guests":     {"/v1/guests", table(guestRows), []string{"guest", "interface"}},
		"neighbours": {"/v1/neighbours", table(neighbourRows), []string{"interface", "guest"}},
		"evpn":       {"/v1/evpn", table(evpnRows), []string{"overlay", "guest", "mac", "vtep"}},
		"firewall":   {"/v1/firewall", table(dropRows), []string{"kind"}},
		"drain":      {"/v1/drain", one(printDrain), nil},
		"health":     {"/v1/health", one(printHealth), nil},
		"status":     {"/v1/status", indented, nil},
		"routes":     {"/v1/routes", table(routeRows), []string{"advertised", "received", "prefix"}},
		"events":     {filters: []string{"since", "event", "last", "peer", "guest", "interface"}}, // showEvents
	}
}

// single are the resources that are no lists: their answer is never null.
var single = []string{"/v1/drain", "/v1/health", "/v1/status"}

func show(in invocation) int {
	fs := in.flags("show")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "JSON")
	follow := fs.Bool("w", false, "go on, and print it again whenever it has changed")
	filters := map[string]*string{
		"peer":      fs.String("peer", "", "sessions, bfd, events: with this peer only, by `ADDRESS` or its session's name"),
		"domain":    fs.String("domain", "", "sessions, rib: of the domain `NAME` only"),
		"interface": fs.String("interface", "", "sessions, bfd, guests, neighbours, events: on the interface `NAME` only"),
		"prefix":    fs.String("prefix", "", "rib, fib: one `PREFIX` only"),
		"table":     fs.String("table", "", "fib: one `TABLE` only, by number, name or domain"),
		"overlay":   fs.String("overlay", "", "evpn: of the overlay `NAME` only"),
		"mac":       fs.String("mac", "", "evpn: with this `MAC` only"),
		"vtep":      fs.String("vtep", "", "evpn: to the VTEP with this `ADDRESS` only"),
		"guest":     fs.String("guest", "", "guests, neighbours, evpn, events: of the guest `NAME` only"),
		"kind":      fs.String("kind", "", "firewall: one `KIND` only"),
		"since":     fs.String("since", "", "events: since a `TIME` ago, such as 90s, 2h or 3d, or a point in time"),
		"event":     fs.String("event", "", "events: of this name, or of a `PATTERN` such as bgp-*"),
		"last":      fs.String("last", "", "events: the last `N` only"),
	}
	file := fs.String("config", defaultConfig, "events: configuration `FILE`, which says where they are while no daemon runs")
	words, ok := in.words(fs, 1, 5)
	if !ok {
		return exitUsage
	}
	v, ok := views()[words[0]]
	if !ok {
		return in.fail(exitUsage, fmt.Errorf("there is nothing called %q to show", words[0]))
	}
	query, err := routeWords(words)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	for name, value := range filters {
		if set(fs, name) && !slices.Contains(v.filters, name) {
			return in.fail(exitUsage, fmt.Errorf("show %s has no -%s", words[0], name))
		}
		if set(fs, name) {
			query = append(query, name, *value)
		}
	}
	if words[0] == "events" {
		f := journal.Filter{Event: *filters["event"], Peer: *filters["peer"], Guest: *filters["guest"], Interface: *filters["interface"]}
		var e1, e2 error
		f.Since, e1 = sinceTime(*filters["since"], time.Now())
		f.Last, e2 = lastEvents(*filters["last"])
		if err := errors.Join(e1, e2, f.Check()); err != nil {
			return in.fail(exitUsage, err)
		}
		return in.showEvents(&history{in: in, socket: *socket, config: *file}, f, *asJSON, *follow)
	}
	if words[0] == "health" && !*follow {
		return in.health(*socket, *asJSON)
	}
	if *follow {
		return in.follow(*socket, v, *asJSON, query...)
	}
	code := in.present(*socket, v, *asJSON, query...)
	if at := slices.Index(query, "received"); code == exitOK && !*asJSON && words[0] == "routes" && at >= 0 {
		return in.notKept(*socket, query[at+1])
	}
	return code
}

// notKept says how much a peer announces that is refused and is not in the list.
func (in invocation) notKept(socket, peer string) int {
	var all []api.Session
	if err := api.NewClient(socket).Get(context.Background(), "/v1/sessions", &all, "peer", peer); err != nil {
		return in.fail(exitFailed, err)
	}
	for _, s := range all {
		for _, f := range s.Families {
			if f.RefusedNotKept > 0 {
				fmt.Fprintf(in.stdout, "and %d more announcements of %s were refused\n", f.RefusedNotKept, f.Family)
			}
		}
	}
	return exitOK
}

// routeWords reads what stands behind `show routes`: [for ADDRESS] advertised|received PEER.
func routeWords(words []string) (query []string, err error) {
	what, words := words[0], words[1:]
	if what != "routes" {
		if len(words) > 0 {
			return nil, fmt.Errorf("show %s: what is %q?", what, words[0])
		}
		return nil, nil
	}
	for len(words) >= 2 && slices.Contains([]string{"for", "advertised", "received"}, words[0]) {
		query = append(query, strings.Replace(words[0], "for", "prefix", 1), words[1])
		words = words[2:]
	}
	if len(words) > 0 || !slices.Contains(query, "advertised") && !slices.Contains(query, "received") {
		return nil, errors.New("want show routes [for ADDRESS] advertised|received PEER; show rib -prefix PREFIX shows what is used")
	}
	return query, nil
}

// present fetches a view and prints it.
func (in invocation) present(socket string, v view, asJSON bool, query ...string) int {
	text, err := in.fetch(socket, v, asJSON, query...)
	if err != nil {
		return in.fail(exitFailed, err)
	}
	_, _ = in.stdout.Write(text)
	return exitOK
}

// followTime is between two looks of -w.
const followTime = time.Second

// follow prints a view again and again, whenever it has changed, until the daemon does not answer
// any more or it is interrupted.
func (in invocation) follow(socket string, v view, asJSON bool, query ...string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	for last := []byte(nil); ; {
		text, err := in.fetch(socket, v, asJSON, query...)
		if err != nil {
			return in.fail(exitFailed, err)
		}
		if !bytes.Equal(text, last) {
			if !asJSON {
				fmt.Fprintln(in.stdout, time.Now().Format("2006-01-02T15:04:05"))
			}
			if _, err := in.stdout.Write(text); err != nil {
				return exitFailed
			}
			last = text
		}
		select {
		case <-ctx.Done():
			return exitOK
		case <-time.After(followTime):
		}
	}
}

// fetch fetches a view, as it is printed.
func (in invocation) fetch(socket string, v view, asJSON bool, query ...string) ([]byte, error) {
	var raw json.RawMessage
	if err := api.NewClient(socket).Get(context.Background(), v.path, &raw, query...); err != nil {
		return nil, err
	}
	if slices.Contains(single, v.path) {
		if err := api.Decode(raw, new(map[string]json.RawMessage)); err != nil {
			return nil, err
		}
	}
	print := v.print
	if asJSON {
		print = indented
	}
	var b bytes.Buffer
	err := print(&b, raw)
	if !asJSON && colours(in.stdout) {
		return coloured(b.Bytes()), err
	}
	return b.Bytes(), err
}

func indented(w io.Writer, data []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, strings.TrimSpace(b.String()))
	return err
}

// table makes a printer of a function that gives a heading and the cells of a row.
func table[T any](row func(*T) (heading, cells []string)) func(io.Writer, []byte) error {
	return func(w io.Writer, data []byte) error {
		var all []T
		if err := json.Unmarshal(data, &all); err != nil {
			return err
		}
		return tabulate(w, row, all)
	}
}

// tabulate prints a heading and a row for each of a list.
func tabulate[T any](w io.Writer, row func(*T) (heading, cells []string), all []T) error {
	heading, _ := row(new(T))
	rows := [][]string{heading}
	for i := range all {
		_, cells := row(&all[i])
		rows = append(rows, cells)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range withoutEmpty(rows, "NETNS") {
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// encoded prints a value as JSON.
func encoded[T any](w io.Writer, v T) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// one makes a printer of a function that prints one value.
func one[T any](print func(io.Writer, T) error) func(io.Writer, []byte) error {
	return func(w io.Writer, data []byte) error {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		return print(w, v)
	}
}

// withoutEmpty leaves out the column of that heading if no row has anything in it.
func withoutEmpty(rows [][]string, heading string) [][]string {
	column := slices.Index(rows[0], heading)
	if column < 0 || slices.ContainsFunc(rows[1:], func(cells []string) bool { return cells[column] != "" }) {
		return rows
	}
	for i, cells := range rows {
		rows[i] = slices.Delete(slices.Clone(cells), column, column+1)
	}
	return rows
}

func sessionRows(s *api.Session) (heading, cells []string) {
	var routes []string
	for _, f := range s.Families {
		word := fmt.Sprintf("%s %d/%d", f.Family, f.Received, f.Advertised)
		if f.Maximum > 0 && f.Limit != "within" {
			word += fmt.Sprintf(" (limit %s: %d of %d)", f.Limit, f.Counted, f.Maximum)
		}
		routes = append(routes, word)
	}
	return []string{"DOMAIN", "NETNS", "FABRIC", "INTERFACE", "PEER", "STATE", "SINCE", "BFD", "IN/OUT", "NEXT HOPS", "LAST ERROR"},
		[]string{s.Domain, s.NetNS, s.Fabric, s.Interface, s.Peer.String(), s.State, ago(s.Since), s.BFD, strings.Join(routes, ", "), hops(s.NextHops), lastError(s)}
}

// lastError is the newest error of a session, after what is not as it should be now.
func lastError(s *api.Session) string {
	var words []string
	if s.DisabledText != "" {
		words = append(words, "disabled: "+s.DisabledText)
	}
	if s.MissingPolicy != "" {
		words = append(words, s.MissingPolicy)
	}
	switch {
	case !s.BFDHeldDown.IsZero():
		words = append(words, fmt.Sprintf("waits for BFD since %s: up, and to stay so until %s", ago(s.BFDWait), s.BFDHeldDown.Format(time.TimeOnly)))
	case !s.BFDWait.IsZero():
		words = append(words, fmt.Sprintf("waits for BFD since %s, this time until %s", ago(s.BFDWait), s.BFDWaitUntil.Format(time.TimeOnly)))
	}
	if s.State == "Established" && (s.BFD == "Down" || s.BFD == "Init") {
		words = append(words, "not watched: BFD is "+s.BFD)
	}
	if !s.RefusedUntil.IsZero() {
		words = append(words, fmt.Sprintf("out until %s: %s (%s ago)", s.RefusedUntil.Format(time.TimeOnly), s.LimitError, ago(s.LimitErrorAt)))
	}
	if s.Error != "" && s.Error != s.LimitError {
		words = append(words, fmt.Sprintf("%s (%s ago)", s.Error, ago(s.ErrorAt)))
	}
	return strings.Join(words, "; ")
}

// hops names the links of a session that has more than its own, and which are dead.
func hops(list []api.NextHop) string {
	var words []string
	for _, w := range list {
		word := w.Interface
		if !w.Alive {
			word += " (dead)"
		}
		if !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, ", ")
}

func bfdRows(s *api.BFD) (heading, cells []string) {
	kind := "BFD"
	if s.Echo {
		kind = "echo"
	}
	return []string{"NETNS", "INTERFACE", "LOCAL", "PEER", "KIND", "STATE", "SINCE", "INTERVAL", "DETECT", "SENT", "RECEIVED", "REFUSED", "DOWNS", "REASON", "LAST DOWN"},
		[]string{s.NetNS, s.Interface, s.Local.String(), s.Peer.String(), kind, s.State, ago(s.Since), s.Interval, s.Detect, fmt.Sprint(s.Sent), fmt.Sprint(s.Received), fmt.Sprint(s.Refused), fmt.Sprint(s.Downs), s.Reason, lastDown(s)}
}

// lastDown says when and why a BFD session left Up last.
func lastDown(s *api.BFD) string {
	if s.LastDown.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s (%s ago)", cmp.Or(s.LastDownReason, "unknown"), ago(s.LastDown))
}

func ribRows(e *api.RIBEntry) (heading, cells []string) {
	announced := ""
	if e.Announced {
		announced = fmt.Sprintf("announced, local-pref %d", e.LocalPref)
		if e.GracefulShutdown {
			announced += ", graceful shutdown"
		}
	} else if e.Why != "" {
		announced = "not announced: " + e.Why
	}
	return []string{"DOMAIN", "PREFIX", "SOURCE", "GATEWAYS", ""},
		[]string{e.Domain, e.Prefix, e.Source, gateways(e.Gateways), announced}
}

func fibRows(r *api.FIBRoute) (heading, cells []string) {
	src := ""
	if r.PrefSrc.IsValid() {
		src = r.PrefSrc.String()
	}
	return []string{"NETNS", "TABLE", "PREFIX", "METRIC", "TYPE", "GATEWAYS", "SRC", "STATE", ""},
		[]string{r.NetNS, fmt.Sprint(r.Table), r.Prefix, fmt.Sprint(r.Metric), r.Type, gateways(r.Gateways), src, r.State, r.Error}
}

func guestRows(g *api.Guest) (heading, cells []string) {
	var addrs []string
	for _, a := range g.IPv4 {
		addrs = append(addrs, a.String())
	}
	for _, p := range g.IPv6 {
		addrs = append(addrs, p.String())
	}
	state, ports, macs := "absent", []string{g.Interface}, []string{g.MAC.String()}
	if g.OverlayOnly() && !g.Present {
		ports, macs = nil, nil
		for _, p := range g.Overlays {
			ports, macs = append(ports, p.Interface), append(macs, p.MAC.String())
			for _, a := range p.Addresses() {
				addrs = append(addrs, a.String())
			}
		}
		if len(g.On) > 0 {
			state = ""
		}
	}
	switch {
	case g.Refused != "":
		state = "refused: " + g.Refused
	case g.Down:
		state = "down"
		if g.DownBy != "" {
			state += " by " + g.DownBy
		}
		if !g.Moved.IsZero() {
			state += ", " + ago(g.Moved)
		}
	case g.Present:
		state = "present"
	}
	if len(g.On) > 0 {
		state = strings.TrimPrefix(state+", on "+strings.Join(g.On, " "), ", ")
	}
	return []string{"NAME", "INTERFACE", "MAC", "ADDRESSES", "STATE", "LOCAL-PREF", "SOURCE"},
		[]string{g.Name, strings.Join(ports, " "), strings.Join(macs, " "), strings.Join(addrs, " "), state, fmt.Sprint(g.LocalPref), g.Source}
}

func gateways(list []api.Gateway) string {
	var out []string
	for _, g := range list {
		text := "dev " + g.Link
		if g.Address.IsValid() {
			text = g.Address.String() + "%" + g.Link
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String()
}

func evpnRows(e *api.EVPN) (heading, cells []string) {
	notes := e.Why
	if e.Sticky {
		notes = strings.TrimPrefix(notes+", sticky", ", ")
	}
	origin := "guest " + e.Guest
	switch {
	case e.Peer.IsValid():
		origin = "peer " + e.Peer.String()
	case e.Guest == "":
		origin = "this host"
	}
	address := "-"
	if e.Address.IsValid() {
		address = e.Address.String()
	}
	return []string{"OVERLAY", "TYPE", "MAC", "ADDRESS", "VTEP", "SEQUENCE", "RD", "FROM", "STATE", "NOTES"},
		[]string{e.Overlay, e.Type, cmp.Or(e.MAC, "-"), address, e.VTEP.String(), fmt.Sprint(e.Sequence), e.RD, origin, e.State, notes}
}

func dropRows(d *api.Drop) (heading, cells []string) {
	packets := fmt.Sprint(d.Packets)
	for _, name := range slices.Sorted(maps.Keys(d.Interfaces)) {
		packets += fmt.Sprintf(" %s=%d", name, d.Interfaces[name])
	}
	return []string{"NETNS", "REASON", "PACKETS"}, []string{d.NetNS, d.Kind, packets}
}

func routeRows(r *api.Route) (heading, cells []string) {
	hop, notes := "-", []string{}
	if r.NextHop.IsValid() {
		hop = r.NextHop.String()
	}
	if r.Stale {
		notes = append(notes, "stale")
	}
	if r.PathID != 0 {
		notes = append(notes, fmt.Sprintf("path %d", r.PathID))
	}
	if r.Refused != "" {
		notes = append(notes, "refused: "+r.Refused)
	}
	return []string{"DOMAIN", "PREFIX", "NEXT HOP", "LOCAL-PREF", "AS PATH", "COMMUNITIES", ""},
		[]string{r.Domain, r.Prefix, hop, fmt.Sprint(r.LocalPref), r.ASPath, strings.Join(r.Communities, " "), strings.Join(notes, ", ")}
}
