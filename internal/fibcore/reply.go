package fibcore

import (
	"errors"

	"github.com/hyperfib/hyperfib/internal/rtnl"
)

const (
	metricLastResort = 4294967294 // customary metric of a last-resort route
	metricIPv6       = 1024       // IP6_RT_PRIO_USER (linux/ipv6_route.h): what 0 means
)

// reply is what has come of one message: err is nil, the errno of the kernel's refusal, for
// which text is its explanation if it has one, or rtnl.ErrLost.
type reply struct {
	err  error
	text string
}

func replyOf(err error) reply {
	if err == nil {
		return reply{}
	}
	var e *rtnl.Error
	if errors.As(err, &e) {
		return reply{e.Errno, e.Text}
	}
	return reply{err: err}
}
