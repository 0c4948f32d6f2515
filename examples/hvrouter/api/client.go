package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
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
			err = failure{errors.New(refusedBy(path)), ErrNotPermitted}
		}
		return c, err
	})
}

func newClient(dial func(context.Context) (net.Conn, error)) *Client {
	c := &Client{}
	c.http.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c.pid.Store(int64(listener(conn)))
		return newQuestioned(conn), nil
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
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.do(ctx, "GET", path, nil, v)
}

// Text fetches a resource that is not JSON.
func (c *Client) Text(ctx context.Context, path string) (string, error) {
	var text []byte
	err := c.do(ctx, "GET", path, nil, &text)
	return string(text), err
}

// Send posts or deletes; body is JSON (or YAML, for guests), nil for none.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) error {
	_, err := c.Done(ctx, method, path, body)
	return err
}

// Done is Send that returns what became of it, for what is done also if it cannot be written down.
func (c *Client) Done(ctx context.Context, method, path string, body []byte) (done Done, err error) {
	err = c.change(ctx, method, path, body, &done)
	return done, err
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
	ask := c.change
	if opt.DryRun {
		ask = c.do
	}
	err = ask(ctx, "POST", "/v1/reload?"+q.Encode(), opt.Text, &done)
	return done, err
}

// Drain has the host drained.
func (c *Client) Drain(ctx context.Context, opt DrainOptions) (d Drain, err error) {
	q := url.Values{"all": {strconv.FormatBool(opt.All)}}
	if opt.UntilStop { // daemons of the version before do not know it
		q.Set("until-stop", "true")
	}
	err = c.change(ctx, "POST", "/v1/drain?"+q.Encode(), nil, &d)
	return d, err
}

// Undrain ends that.
func (c *Client) Undrain(ctx context.Context) (d Drain, err error) {
	err = c.change(ctx, "POST", "/v1/undrain", nil, &d)
	return d, err
}

// change is do for what changes something: an error says if it may have been done all the same, or
// may be done later.
func (c *Client) change(ctx context.Context, method, path string, body []byte, v any) error {
	err := c.do(ctx, method, path, body, v)
	var silent *SilentError
	switch {
	case errors.As(err, &silent):
		return fmt.Errorf("%w; what was asked for may be done later", err)
	case errors.Is(err, ErrCutOff):
		return fmt.Errorf("%w; what was asked for may have been done", err)
	}
	return err
}

// do asks, and decodes the answer into v: [Decode], or as it is into a *[]byte.
func (c *Client) do(ctx context.Context, method, path string, body []byte, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://hvrouter"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.ask(ctx, r, false)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(method+" "+path, resp, data)
	}
	text, plain := v.(*[]byte)
	if !plain {
		return Decode(data, v)
	}
	if *text = data; len(data) == 0 {
		return errors.New("the daemon's answer is empty")
	}
	return nil
}
