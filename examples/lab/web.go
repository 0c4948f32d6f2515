package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/hyperfib/hyperfib/examples/hvrouter/web"
	"github.com/hyperfib/hyperfib/examples/lab/experiment"
	"github.com/hyperfib/hyperfib/examples/lab/page"
	"github.com/hyperfib/hyperfib/examples/lab/plan"
	"github.com/hyperfib/hyperfib/examples/lab/sandbox"
	"github.com/hyperfib/hyperfib/examples/lab/topology"
)

// door opens where browsers come in, outside of the sandbox; nil if no page is asked for.
func (o *options) door() (*os.File, error) {
	if o.web == "" {
		return nil, nil
	}
	l, err := web.Listen(o.web)
	if err != nil {
		return nil, fmt.Errorf("-web %w", err)
	}
	defer l.Close()
	f, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("-web %s: want an address and a port", o.web)
	}
	return f.File()
}

// serve begins to serve the lab's page, before the first experiments are run: their output goes there, too.
// served receives when it has ended.
func (o *options) serve(ctx context.Context, run *experiment.Run) (p *page.Page, served <-chan error, err error) {
	file := sandbox.Inherited()
	l, err := net.FileListener(file)
	file.Close()
	if err != nil {
		return nil, nil, err
	}
	w := run.Topology
	routers := map[string]string{}
	for n := 1; n <= plan.HVs; n++ {
		if w.HVKind(n) == topology.Self {
			routers[plan.HVName(n)] = w.API(n)
		}
	}
	var here []experiment.Experiment
	for _, a := range experiment.All() {
		if a.When == nil || a.When(w.Timing.Lab) {
			here = append(here, a)
		}
	}
	p = page.New(here, routers)
	p.Begin(o.experiments[0])
	run.Out = io.MultiWriter(run.Out, p)
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(ctx, l, p) }()
	fmt.Printf("page: http://%s/\n", l.Addr())
	return p, ended, nil
}

// onWish runs the experiments that the page asks for, until ctx ends.
func onWish(ctx context.Context, run *experiment.Run, p *page.Page, served <-chan error) error {
	run.Out = p
	for {
		select {
		case <-ctx.Done():
			return <-served
		case err := <-served:
			return err
		case a := <-p.Wanted():
			run.Do(a)
			p.Done()
		}
	}
}
