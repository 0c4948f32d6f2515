package fib

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/wire"
)

// fill gives every field below v a value that is not zero.
func fill(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = netip.MustParseAddr("192.0.2.1")
		return
	case *netip.Prefix:
		*x = netip.MustParsePrefix("192.0.2.0/24")
		return
	case *time.Time:
		*x = time.Unix(1, 0)
		return
	case *error:
		*x = errors.New("no")
		return
	case *any:
		*x = wire.RouteKey{Table: 1}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		fill(v.Index(0))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	default:
		if v.CanUint() {
			v.SetUint(1)
		} else if v.CanInt() {
			v.SetInt(1)
		}
	}
}

// TestConversions: no field is forgotten between the types of users and those of the core.
func TestConversions(t *testing.T) {
	whole := func(what string, v any) {
		t.Helper()
		r := reflect.ValueOf(v)
		for i := range r.NumField() {
			if r.Field(i).IsZero() {
				t.Errorf("%s: %s is lost", what, r.Type().Field(i).Name)
			}
		}
	}
	var rule Rule
	fill(reflect.ValueOf(&rule).Elem())
	whole("rule to core", coreRule(rule))
	if got := ruleOf(coreRule(rule)); got != rule {
		t.Errorf("rule: %+v, then %+v", rule, got)
	}
	var route Route
	fill(reflect.ValueOf(&route).Elem())
	core := coreRoute(&route, nil)
	whole("route to core", core)
	if got := routeOf(&core); !reflect.DeepEqual(got, route) {
		t.Errorf("route: %+v, then %+v", route, got)
	}
	var address Address
	fill(reflect.ValueOf(&address).Elem())
	whole("address to core", coreAddress(address))
	if got := addressOf(coreAddress(address)); got != address {
		t.Errorf("address: %+v, then %+v", address, got)
	}
	var config Config
	fill(reflect.ValueOf(&config).Elem())
	whole("config to core", coreConfig(config))
	var event fibcore.Event
	fill(reflect.ValueOf(&event).Elem())
	whole("event", eventOf(&event))
	var status fibcore.RouteStatus
	fill(reflect.ValueOf(&status).Elem())
	whole("status", statusOf(&status))
	var difference fibcore.Difference
	fill(reflect.ValueOf(&difference).Elem())
	whole("difference", differenceOf(&difference))
}
