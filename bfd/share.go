package bfd

import (
	"errors"
	"reflect"
)

// merge returns the more demanding of what two clients want of the same session. The
// session is AdminDown or passive only if all want it so.
func merge(a, b SessionConfig) (SessionConfig, error) {
	if !reflect.DeepEqual(a.Auth, b.Auth) || a.Echo != b.Echo {
		return a, errors.New("bfd: another client uses this session with other authentication")
	}
	a.DesiredMinTx = min(a.DesiredMinTx, b.DesiredMinTx)
	if a.RequiredMinRx < 0 || b.RequiredMinRx >= 0 && b.RequiredMinRx < a.RequiredMinRx {
		a.RequiredMinRx = b.RequiredMinRx
	}
	a.Multiplier = min(a.Multiplier, b.Multiplier)
	a.MinTTL = max(a.MinTTL, b.MinTTL)
	a.Passive = a.Passive && b.Passive
	a.AdminDown = a.AdminDown && b.AdminDown
	a.Failover = append(a.Failover[:len(a.Failover):len(a.Failover)], b.Failover...)
	return a, nil
}

func sameConfig(a, b SessionConfig) bool { return reflect.DeepEqual(a, b) }
