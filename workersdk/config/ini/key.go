package ini

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Key is one key of a schema.
type Key struct {
	Section, Name string
	Type, Field   string // the Go names of the section's struct and of its field
	Default       string // as a file would have it; empty = none
	Min, Max      string // as a file would have it; empty = none
	Live          bool   // applied by a reload, without a restart

	kind     reflect.Type
	index    []int
	path     bool
	bytes    bool
	none     bool
	inverted bool
}

// Env returns the environment variable that overrides the key.
func (k Key) Env() string {
	return EnvPrefix + strings.ToUpper(k.Section+"_"+k.Name)
}

// Kind returns what a value of the key is, for documentation.
func (k Key) Kind() string {
	switch {
	case k.kind == durationType:
		return "time"
	case k.bytes:
		return "size"
	case k.kind.Kind() == reflect.Slice:
		return "list of paths"
	case k.path:
		return "path"
	case k.kind.Kind() == reflect.Bool:
		return "True or False"
	case k.kind.Kind() == reflect.String:
		return "text"
	}
	return "number"
}

var durationType = reflect.TypeFor[time.Duration]()

func (k Key) field(v any) reflect.Value { return reflect.ValueOf(v).Elem().FieldByIndex(k.index) }

// parse reads the text of a value into a new value of the field's type.
func (k Key) parse(text string) (reflect.Value, error) {
	v := reflect.New(k.kind).Elem()
	var err error
	switch {
	case k.kind == durationType:
		var d time.Duration
		d, err = parseDuration(text)
		v.SetInt(int64(d))
	case k.kind.Kind() == reflect.Bool:
		var b bool
		b, err = parseBool(text)
		v.SetBool(b != k.inverted)
	case k.kind.Kind() == reflect.Slice:
		var list []string
		list, err = parseList(text)
		for i := range list {
			if k.path {
				list[i] = hostPath(list[i])
			}
		}
		v.Set(reflect.ValueOf(list))
	case k.kind.Kind() == reflect.String:
		if k.path {
			text = hostPath(text)
		}
		v.SetString(text)
	default:
		var n int64
		if k.bytes {
			n, err = parseBytes(text)
		} else {
			n, err = parseNumber(text)
		}
		v.SetInt(n)
	}
	if err == nil && k.none && v.IsZero() {
		v.SetInt(1)
	}
	return v, err
}

// inRange checks a number against min and max. Zero stands for the default in
// Go, and in a file (given) only where there is none.
func (k Key) inRange(v reflect.Value, given bool) error {
	if !v.CanInt() || v.Int() == 0 && !(given && k.Default != "") || v.Int() == 1 && k.none {
		return nil
	}
	low := int64(0)
	if k.Min != "" {
		limit, _ := k.parse(k.Min)
		low = limit.Int()
	} else if k.Default != "" && !k.none {
		low = 1
	}
	if v.Int() < low {
		return fmt.Errorf("is below %s", k.number(low))
	}
	if k.Max != "" {
		if limit, _ := k.parse(k.Max); v.Int() > limit.Int() {
			return fmt.Errorf("is above %s", k.Max)
		}
	}
	return nil
}

// format is the opposite of parse.
func (k Key) format(v reflect.Value) string {
	switch {
	case v.CanInt() && v.Int() == 1 && k.none:
		return k.number(0)
	case v.CanInt():
		return k.number(v.Int())
	case v.Kind() == reflect.Bool:
		return formatBool(v.Bool() != k.inverted)
	case v.Kind() == reflect.Slice:
		return FormatList(v.Interface().([]string))
	}
	return v.String()
}

func (k Key) number(n int64) string {
	switch {
	case k.kind == durationType:
		return formatDuration(time.Duration(n))
	case k.bytes:
		return formatBytes(n)
	}
	return strconv.FormatInt(n, 10)
}
