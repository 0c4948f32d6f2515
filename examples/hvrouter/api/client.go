package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Client speaks to a daemon. It is safe for concurrent use. A daemon that is there and does not
// answer is a [*SilentError]: after 5 s if it answers nothing at all; if it answers other questions
// after a minute, or two if something is to be changed.
type Client struct {
	http http.Client
	pid  atomic.Int64 // who listens at the socket; 0: not known
}

// NewClient makes a client of the daemon whose socket is at path.
func NewClient(path string) *Client {
	return newClient(func(ctx context.Context) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if errors.Is(err, fs.ErrPermission) {
			err = errors.New(refusedBy(path))
		}
		return c, err
	})
}

func newClient(dial func(context.Context) (net.Conn, error)) *Client {
	c := &Client{}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil {
			c.pid.Store(int64(listener(conn)))
		}
		return conn, err
	}}
	return c
}

// Get fetches a resource such as "/v1/fib" with query parameters in pairs (empty
// values are left out), and decodes it into v.
func (c *Client) Get(ctx context.Context, path string, v any, query ...string) error {
	q := url.Values{}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			q.Set(query[i], query[i+1])
		}
	}
	return c.do(ctx, "GET", path+"?"+q.Encode(), nil, v)
}

// Text fetches a resource that is not JSON.
func (c *Client) Text(ctx context.Context, path string) (string, error) {
	var text []byte
	err := c.do(ctx, "GET", path, nil, &text)
	return string(text), err
}

// Send posts or deletes; body is JSON (or YAML, for guests), nil for none.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) error {
	return c.do(ctx, method, path, body, nil)
}

// Reload has the daemon read its configuration again, or take the one in opt, and returns what
// that does.
func (c *Client) Reload(ctx context.Context, opt ReloadOptions) (done Reload, err error) {
	q := url.Values{"force": {strconv.FormatBool(opt.Force)}, "dry-run": {strconv.FormatBool(opt.DryRun)}}
	if opt.Text != nil {
		q.Set("file", opt.Name)
	}
	if opt.Confirm != 0 {
		q.Set("confirm", opt.Confirm.String())
	}
	err = c.do(ctx, "POST", "/v1/reload?"+q.Encode(), opt.Text, &done)
	return done, err
}

// Drain has the host drained.
func (c *Client) Drain(ctx context.Context, opt DrainOptions) (d Drain, err error) {
	q := url.Values{"all": {strconv.FormatBool(opt.All)}}
	if opt.UntilStop { // daemons of the version before do not know it
		q.Set("until-stop", "true")
	}
	err = c.do(ctx, "POST", "/v1/drain?"+q.Encode(), nil, &d)
	return d, err
}

// Undrain ends that.
func (c *Client) Undrain(ctx context.Context) (d Drain, err error) {
	err = c.do(ctx, "POST", "/v1/undrain", nil, &d)
	return d, err
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://hvrouter"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.ask(ctx, r, false)
	var silent *SilentError
	if errors.As(err, &silent) && method != http.MethodGet {
		return fmt.Errorf("%w; what was asked for may be done later", err)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := &Error{}
		if json.Unmarshal(data, e) != nil || e.Message == "" {
			return fmt.Errorf("%s %s: %s", method, path, resp.Status)
		}
		return e
	}
	switch v := v.(type) {
	case nil:
		return nil
	case *[]byte:
		*v = data
		return nil
	}
	return json.Unmarshal(data, v)
}

// unreachable says what to do about a daemon that cannot be asked. The error that it wraps is that
// of the connection.
func unreachable(err error) error {
	var dial *net.OpError
	if !errors.As(err, &dial) || dial.Op != "dial" {
		return err
	}
	switch {
	case errors.Is(err, unix.EAGAIN): // unix(7): more connections wait than may
		return &SilentError{}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root may ask the daemon: %w", dial)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("no daemon runs, or it has another socket (-api): %w", dial)
	}
	return dial
}
