package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/cli"
	"github.com/hyperfib/hyperfib/examples/hvrouter/vrf"
	"github.com/hyperfib/hyperfib/examples/lab/dhcpd"
	"github.com/hyperfib/hyperfib/examples/lab/edge"
	"github.com/hyperfib/hyperfib/examples/lab/experiment"
	"github.com/hyperfib/hyperfib/examples/lab/junos"
	"github.com/hyperfib/hyperfib/examples/lab/matrix"
	"github.com/hyperfib/hyperfib/examples/lab/page"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/report"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
	"github.com/hyperfib/hyperfib/examples/routereflector/app"
)

// parts are what this program can be when it is started again inside a node, and
// the table of all configurations, for which it starts itself again and again.
var parts = map[string]func([]string) int{
	topology.PartRouter:    cli.Main,
	topology.PartReflector: app.Main,
	topology.PartEdge:      edge.Main,
	topology.PartDHCP:      dhcpd.Main,
	topology.PartJunos:     junos.Main,
	"matrix":               matrix.Main,
}

// play builds the topology, runs the experiments, and writes the report.
func play(o *options) error {
	start := time.Now()
	if o.topology.Timing.Is("mode", plan.ModeVRF) {
		if err := vrf.Supported(); err != nil {
			return err
		}
	}
	dir, outer, err := sandbox.Enter()
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	o.topology.Dir = dir
	w, err := topology.Build(o.topology)
	if err == nil {
		err = w.Prepare()
	}
	if err != nil {
		return err
	}
	fmt.Printf("built %d namespaces in %.2f s\n", len(w.Nodes), time.Since(start).Seconds())
	run := &experiment.Run{Ctx: ctx, Topology: w, Report: &o.report, Started: time.Now(), Linger: o.linger, Times: o.times}
	screen := report.NewScreen(os.Stdout, run.Table)
	run.Out = screen
	var p *page.Page
	var served <-chan error
	if o.web != "" {
		if p, served, err = o.serve(ctx, run); err != nil {
			return err
		}
	}
	for _, d := range w.Daemons {
		if err := d.Start(); err != nil {
			return err
		}
	}
	for _, a := range o.experiments {
		if ctx.Err() != nil {
			break
		}
		if p != nil {
			p.Begin(a)
		}
		run.Do(a)
	}
	if p != nil {
		p.Done()
	}
	screen.Close()
	fmt.Print(run.Table())
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	o.report.Seconds = report.Number(time.Since(start).Seconds())
	if o.json != "" {
		if err := o.report.Write(o.json); err != nil {
			return err
		}
	}
	summary(&o.report)
	if o.logs != "" {
		if err := keep(o.logs, dir); err != nil {
			return err
		}
	}
	switch {
	case o.web != "":
		hold(w, outer)
		return onWish(ctx, run, p, served)
	case o.hold:
		hold(w, outer)
		<-ctx.Done()
	}
	return nil
}

func summary(r *report.Report) {
	failed := r.Failed()
	fmt.Printf("\n%d results, %d failed, %s s\n", len(r.Results), len(failed), r.Seconds)
	for _, f := range failed {
		fmt.Printf("  %s: %s\n", f.Experiment, f)
	}
}

// hold says how to look around in a lab that stays up.
func hold(w *topology.Topology, outer int) {
	fmt.Printf("\nThe lab stays up until you press Ctrl-C. To enter a node:\n\n")
	prefix := fmt.Sprintf("nsenter --target %d --mount --pid --net=/proc/%d/root", outer, outer)
	if sandbox.Rootless() {
		prefix = fmt.Sprintf("nsenter --target %d --user --preserve-credentials --mount --pid --net=/proc/%d/root", outer, outer)
	}
	fmt.Printf("  %s%s bash\n\nnodes:", prefix, w.HV(1).Path)
	for n := 1; n <= plan.HVs; n++ {
		fmt.Printf(" %s", plan.HVName(n))
	}
	for _, f := range plan.Fabrics {
		if len(w.Timing.Reflected()) > 0 {
			fmt.Printf(" %s", plan.RRName(f))
		}
		fmt.Printf(" fabric-%s", f)
	}
	for _, r := range w.Timing.UnderlayRouters() {
		fmt.Printf(" %s", r.Name)
	}
	fmt.Printf(" %s", plan.EdgeName)
	for _, g := range w.Timing.Guests() {
		fmt.Printf(" %s", g.Name)
	}
	fmt.Printf("\nlogs: %s/log, configurations: %s/etc\n", w.Dir, w.Dir)
}

// keep copies logs and configurations out of the lab's own file system.
func keep(to, dir string) error {
	for _, sub := range []string{"log", "etc"} {
		target := filepath.Join(to, sub)
		if err := os.RemoveAll(target); err != nil {
			return err
		}
		if err := os.CopyFS(target, os.DirFS(filepath.Join(dir, sub))); err != nil {
			return err
		}
	}
	return nil
}
