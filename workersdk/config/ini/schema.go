package ini

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/servicetools/servicetools/wire/message"
)

// EnvPrefix starts the environment variables that override keys.
const EnvPrefix = "SERVICETOOLS_"

// Schema describes the INI form of T, a struct of section structs. The tags of
// a section's field are
//
//	ini:"key,option..."  path: backslashes are normalised (also in a list of paths)
//	                     bytes: the number may be written as 16 MiB
//	                     none: 0 is allowed; in Go, where 0 is the default, it is 1 (a nanosecond, a byte)
//	ini:"!key"           the field is the key's opposite, for a key that is True by default
//	default:"value"      in force when the key is not given or the field is zero
//	min, max:"value"     the accepted range
//	live:"yes"           a reload applies the key; others need a restart
//
// A field may be a string, bool, int, int64, time.Duration or []string.
type Schema[T any] struct{ keys []Key }

// NewSchema reads the tags of T. Tags that make no sense are a programming
// error and panic.
func NewSchema[T any]() *Schema[T] {
	s := &Schema[T]{}
	for _, group := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, ok := group.Tag.Lookup("ini")
		if !ok || len(group.Index) > 1 {
			continue
		}
		for _, field := range reflect.VisibleFields(group.Type) {
			tag, ok := field.Tag.Lookup("ini")
			if !ok {
				continue
			}
			options := strings.Split(tag, ",")
			k := Key{
				Section: name,
				Name:    strings.TrimPrefix(options[0], "!"),
				Type:    group.Type.Name(), Field: field.Name,
				Default: field.Tag.Get("default"), Min: field.Tag.Get("min"), Max: field.Tag.Get("max"),
				Live:     field.Tag.Get("live") == "yes",
				kind:     field.Type,
				index:    append(slices.Clone(group.Index), field.Index...),
				inverted: strings.HasPrefix(options[0], "!"),
				path:     slices.Contains(options, "path"),
				bytes:    slices.Contains(options, "bytes"),
				none:     slices.Contains(options, "none"),
			}
			for _, text := range []string{k.Default, k.Min, k.Max} {
				if text == "" {
					continue
				}
				if _, err := k.parse(text); err != nil {
					panic(fmt.Sprintf("ini: field %s: %q %v", field.Name, text, err))
				}
			}
			s.keys = append(s.keys, k)
		}
	}
	return s
}

// Keys returns the keys in the order of the struct.
func (s *Schema[T]) Keys() []Key { return slices.Clone(s.keys) }

// Find returns a key by its names.
func (s *Schema[T]) Find(section, name string) (Key, bool) {
	i := slices.IndexFunc(s.keys, func(k Key) bool { return k.Section == section && k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return s.keys[i], true
}

// Origins tells where each value that was given came from: "file:line" or
// "environment NAME". A key that is absent has its default.
type Origins map[[2]string]string

// Of returns the origin of a key, "default" if it was not given.
func (o Origins) Of(section, key string) string {
	if origin, ok := o[[2]string{section, key}]; ok {
		return origin
	}
	return "default"
}

// Decode sets the fields of dst from f and from the environment, which wins
// over the file. Values that were not given stay zero. It reports every
// unknown section, unknown key and bad value, each with its place.
func (s *Schema[T]) Decode(dst *T, f *File, env func(string) (string, bool)) (Origins, []error) {
	var errs []error
	origins := Origins{}
	errs = append(errs, s.unknown(f)...)
	for _, k := range s.keys {
		var value, origin string
		if e := f.Find(k.Section, k.Name); e != nil {
			value, origin = e.Value, fmt.Sprintf("%s:%d", f.Name, e.Line)
			if strings.Contains(value, "\n") && k.kind.Kind() != reflect.Slice {
				errs = append(errs, &Error{origin, k.Section, k.Name, "the line below is indented and so continues this value: remove its indentation"})
				continue
			}
		}
		if v, ok := env(k.Env()); ok && v != "" { // empty: what compose files pass for a variable that is not set
			value, origin = v, "environment "+k.Env()
		}
		if isUnset(value) {
			continue
		}
		origins[[2]string{k.Section, k.Name}] = origin
		v, err := k.parse(value)
		if err == nil {
			err = k.inRange(v, true)
		}
		if err != nil {
			errs = append(errs, &Error{origin, k.Section, k.Name, fmt.Sprintf("%.80q %v", value, err)})
			continue
		}
		k.field(dst).Set(v)
	}
	return origins, errs
}

// Load is Decode followed by verify, a check of dst that begins with Fill. All
// that is wrong is one error, each part of it with its place.
func (s *Schema[T]) Load(dst *T, f *File, env func(string) (string, bool), verify func() []error) (Origins, error) {
	origins, errs := s.Decode(dst, f, env)
	if errs == nil {
		errs = verify()
		origins.Locate(errs, f.Name)
	}
	return origins, errors.Join(errs...)
}

// unknown reports the sections and keys of f that the schema does not have.
func (s *Schema[T]) unknown(f *File) (errs []error) {
	var sections []string
	for _, k := range s.keys {
		if !slices.Contains(sections, k.Section) {
			sections = append(sections, k.Section)
		}
	}
	for _, have := range f.sections {
		if !slices.Contains(sections, have.name) {
			errs = append(errs, &Error{Origin: fmt.Sprintf("%s:%d", f.Name, have.line), Section: have.name,
				Reason: "unknown section" + message.DidYouMean(have.name, sections) + "; there are " + strings.Join(sections, ", ")})
		}
	}
	for _, e := range f.entries {
		if _, ok := s.Find(e.Section, e.Key); ok || !slices.Contains(sections, e.Section) {
			continue
		}
		var near, all []string
		for _, k := range s.keys {
			all = append(all, k.Name)
			if k.Section == e.Section {
				near = append(near, k.Name)
			}
		}
		hint := message.DidYouMean(e.Key, near)
		if hint == "" {
			hint = s.elsewhere(e.Key)
		}
		if hint == "" {
			hint = message.DidYouMean(e.Key, all)
		}
		errs = append(errs, &Error{fmt.Sprintf("%s:%d", f.Name, e.Line), e.Section, e.Key, "unknown key" + hint})
	}
	return errs
}

// elsewhere says in which other section a key belongs.
func (s *Schema[T]) elsewhere(key string) string {
	for _, k := range s.keys {
		if k.Name == key {
			return fmt.Sprintf(" (it belongs in section [%s])", k.Section)
		}
	}
	return ""
}

// Fill gives each zero field of dst its default and checks the range of all.
func (s *Schema[T]) Fill(dst *T) (errs []error) {
	for _, k := range s.keys {
		field := k.field(dst)
		if field.IsZero() && k.Default != "" {
			v, _ := k.parse(k.Default) // NewSchema did it before
			field.Set(v)
		}
		if err := k.inRange(field, false); err != nil {
			errs = append(errs, &Error{"", k.Section, k.Name, fmt.Sprintf("%s %v", k.format(field), err)})
		}
	}
	return errs
}

// Text returns the value of a key in src as a file would have it.
func (s *Schema[T]) Text(src *T, k Key) string { return k.format(k.field(src)) }

// Change is a key whose value differs between two configurations.
type Change struct {
	Section, Key string
	Old, New     string // as a file would have them
	Live         bool   // a reload applies it; otherwise it needs a restart
}

// String returns `[section] key: old -> new`, and whether it needs a restart.
func (c Change) String() string {
	s := fmt.Sprintf("[%s] %s: %s -> %s", c.Section, c.Key, c.Old, c.New)
	if !c.Live {
		s += " (needs a restart)"
	}
	return s
}

// Diff lists the keys that differ from old to new, in the order of the schema.
func (s *Schema[T]) Diff(old, new *T) (changes []Change) {
	for _, k := range s.keys {
		if a, b := s.Text(old, k), s.Text(new, k); a != b {
			changes = append(changes, Change{k.Section, k.Name, a, b, k.Live})
		}
	}
	return changes
}
