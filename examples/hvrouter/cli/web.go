package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/web"
)

// servePage serves a page for browsers until it is interrupted.
func servePage(in invocation) int {
	fs := in.flags("web")
	socket := in.api(fs)
	where := fs.String("listen", "127.0.0.1:8179", "serve at this loopback `ADDRESS` and port, or at unix:PATH")
	if _, ok := in.words(fs, 0, 0); !ok {
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	client := api.NewClient(*socket)
	var health api.Health
	if err := client.Get(ctx, "/v1/health", &health); err != nil {
		return in.fail(exitFailed, err)
	}
	l, err := web.Listen(*where)
	if err != nil {
		return in.fail(exitUsage, err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		fmt.Fprintf(in.stdout, "http://%s/, for everybody with an account on this host, until Ctrl-C\n", a)
	}
	name, _ := os.Hostname()
	if err := web.Serve(ctx, l, web.Handler(name, client)); err != nil {
		return in.fail(exitFailed, err)
	}
	return exitOK
}
