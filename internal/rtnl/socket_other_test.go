//go:build !linux

package rtnl

import (
	"errors"
	"testing"
)

func TestUnsupported(t *testing.T) {
	if _, err := Open(Config{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
