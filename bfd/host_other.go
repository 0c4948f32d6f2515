//go:build !linux

package bfd

import (
	"context"
	"errors"
	"fmt"
)

// systemHost stands for a system on which there are no sessions: they run on Linux only.
type systemHost struct{}

var errUnsupported = fmt.Errorf("bfd: sessions need Linux: %w", errors.ErrUnsupported)

func (systemHost) clock() (clock, error)                        { return nil, errUnsupported }
func (systemHost) random() uint32                               { return 0 }
func (systemHost) poller() (poller, error)                      { return nil, errUnsupported }
func (systemHost) namespace(string) (namespace, error)          { return nil, errUnsupported }
func (systemHost) namespaceOf(int, string) (namespace, error)   { return nil, errUnsupported }
func (systemHost) closeFD(int)                                  {}
func (systemHost) listener(int) (listener, error)               { return nil, errUnsupported }
func (systemHost) dial(context.Context, string) (stream, error) { return nil, errUnsupported }
