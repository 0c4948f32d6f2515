package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// drainPoll is how often drain -wait looks how far it has come.
const drainPoll = 250 * time.Millisecond

// drain has the host drained. With -wait it says on standard error how far that has come, whenever
// that changes, and exits 1 if something still attracts traffic in the end.
func drain(in invocation) int {
	fs := in.flags("drain")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "JSON")
	all := fs.Bool("all", false, "withdraw what no other router announces, too: guests that are still here are not reachable any more")
	untilStop := fs.Bool("until-stop", false, "the drain ends with the daemon: nothing is written down")
	wait := fs.Duration("wait", 0, "wait until nothing but the hypervisor's own address attracts traffic, for `TIME` at most, and say how far that has come; exit 1 if it has not by then")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	if set(fs, "wait") && *wait <= 0 { // or a script that stops the daemon afterwards would go on
		return in.fail(exitUsage, fmt.Errorf("-wait %v: want a time, such as 10m", *wait))
	}
	client := api.NewClient(*socket)
	d, err := client.Drain(context.Background(), api.DrainOptions{All: *all, UntilStop: *untilStop})
	said := ""
	for end := time.Now().Add(*wait); err == nil && d.Drained && (d.Moving || attracting(d) > 0) && time.Now().Before(end); {
		if now := progress(d); now != said {
			said = now
			fmt.Fprintf(in.stderr, "%s, %v left\n", now, time.Until(end).Round(time.Second))
		}
		time.Sleep(min(drainPoll, time.Until(end)))
		var now api.Drain // decoding leaves alone what is not there any more
		err = client.Get(context.Background(), "/v1/drain", &now)
		d = now
	}
	switch {
	case err != nil:
		return in.fail(exitFailed, err)
	case in.showDrain(d, *asJSON) != nil:
		return exitFailed
	case *wait > 0 && !d.Drained:
		return in.fail(exitFailed, fmt.Errorf("the drain has been ended meanwhile"))
	case *wait > 0 && (d.Moving || attracting(d) > 0):
		return in.fail(exitFailed, fmt.Errorf("after %v, %s still attracting traffic: move the guests, or withdraw everything with drain -all", *wait, prefixes(attracting(d))))
	case d.Unwritten != "" && !*untilStop:
		return exitBrief
	}
	return exitOK
}

// undrain ends a drain.
func undrain(in invocation) int {
	fs := in.flags("undrain")
	socket := in.api(fs)
	asJSON := fs.Bool("j", false, "JSON")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	d, err := api.NewClient(*socket).Undrain(context.Background())
	if err != nil {
		return in.fail(exitFailed, err)
	}
	switch {
	case in.showDrain(d, *asJSON) != nil:
		return exitFailed
	case d.Unwritten != "":
		return exitBrief
	}
	return exitOK
}

// attracting counts the prefixes that traffic of other hosts still comes here for.
func attracting(d api.Drain) (n int) {
	for _, p := range d.Prefixes {
		if p.Attracts() {
			n++
		}
	}
	return n
}

// progress says how far a drain has come.
func progress(d api.Drain) string {
	return map[bool]string{true: "the other routers have not moved their traffic yet, "}[d.Moving] + prefixes(attracting(d)) + " still attracting traffic"
}

func (in invocation) showDrain(d api.Drain, asJSON bool) error {
	print := printDrain
	if asJSON {
		print = encoded[api.Drain]
	}
	return print(in.stdout, d)
}

// prefixes is a number of them, in words.
func prefixes(n int) string {
	if n == 1 {
		return "1 prefix"
	}
	return fmt.Sprintf("%d prefixes", n)
}

// printDrain prints a drain for people.
func printDrain(w io.Writer, d api.Drain) error {
	if !d.Drained {
		text := "not drained"
		if d.Unwritten != "" {
			text += "\n" + d.Unwritten
		}
		_, err := fmt.Fprintln(w, text)
		return err
	}
	away := 0
	for _, p := range d.Prefixes {
		if !p.Announced {
			away++
		}
	}
	what := map[bool]string{true: ", everything is to go"}[d.All] + map[bool]string{true: ", the other routers have not moved their traffic yet"}[d.Moving]
	fmt.Fprintf(w, "drained for %s%s: %s not announced, %s still attracting traffic\n", ago(d.Since), what, prefixes(away), prefixes(attracting(d)))
	for _, why := range []string{d.Unwritten, d.Volatile} {
		if why != "" {
			fmt.Fprintln(w, why)
		}
	}
	if len(d.Prefixes) == 0 {
		return nil
	}
	return tabulate(w, drainRows, d.Prefixes)
}

func drainRows(p *api.DrainedPrefix) (heading, cells []string) {
	announced := "no"
	if p.Announced {
		announced = "graceful shutdown"
	}
	why := "no other router announces it"
	if !p.Alternative.IsZero() {
		why = "another router announces it, for " + ago(p.Alternative)
	}
	guest := p.Guest
	switch {
	case p.Own:
		guest, why = "-", "the hypervisor's own address"
	case guest == "":
		guest = "-"
	}
	packets := "-"
	if p.Packets != nil {
		packets = fmt.Sprint(*p.Packets)
	}
	return []string{"DOMAIN", "PREFIX", "GUEST", "ANNOUNCED", "PACKETS", ""}, []string{p.Domain, p.Prefix, guest, announced, packets, why}
}
