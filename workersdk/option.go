package workersdk

import (
	"fmt"
	"io/fs"
	"slices"

	"github.com/servicetools/servicetools/workersdk/method"
)

// Option says more about a worker's methods and how they run.
type Option func(*options)

type options struct {
	method.Options
	functions    []function
	interceptors []Interceptor
	concurrency  int
}

type function struct {
	name, doc string
	fn        any
}

// WithIdempotent names methods that may run twice without harm: when a worker
// is lost, the broker gives their calls to another one. The served value may
// also declare them by a method Idempotent() []string.
func WithIdempotent(methods ...string) Option {
	return func(o *options) { o.Idempotent = append(o.Idempotent, methods...) }
}

// WithExcept names exported methods that are not served, such as Close.
func WithExcept(methods ...string) Option {
	return func(o *options) { o.Except = append(o.Except, methods...) }
}

// WithSource gives the Go files of the served type's package, from which doc
// comments and parameter names are taken for those who ask the broker to
// describe a method:
//
//	//go:embed *.go
//	var source embed.FS
func WithSource(files fs.FS) Option {
	return func(o *options) { o.Source = files }
}

// WithFunc serves one function under the given wire name. With it, New and
// Main take a nil value.
func WithFunc(name string, fn any, doc string) Option {
	return func(o *options) { o.functions = append(o.functions, function{name, doc, fn}) }
}

// WithInterceptor puts a function around every method, the first one outermost.
func WithInterceptor(i Interceptor) Option {
	return func(o *options) { o.interceptors = append(o.interceptors, i) }
}

// WithConcurrency declares how many calls run at once, unless the
// configuration says otherwise. Default: the number of cores that Go may use.
func WithConcurrency(n int) Option {
	return func(o *options) { o.concurrency = n }
}

// table makes the method table of obj, which may be nil if there are functions.
func (o *options) table(obj any) (*method.Table, error) {
	of := o.Options
	of.Idempotent = slices.DeleteFunc(slices.Clone(o.Idempotent), func(name string) bool {
		return slices.ContainsFunc(o.functions, func(f function) bool { return f.name == name })
	})
	table := method.NewEmpty()
	if obj != nil || len(o.functions) == 0 {
		var err error
		if table, err = method.New(obj, of); err != nil {
			return nil, err
		}
	}
	for _, f := range o.functions {
		if err := table.Func(f.name, f.fn, f.doc, slices.Contains(o.Idempotent, f.name)); err != nil {
			return nil, fmt.Errorf("workersdk: %w", err)
		}
	}
	return table, nil
}

func newOptions(opts []Option) *options {
	o := &options{}
	for _, opt := range opts {
		opt(o)
	}
	return o
}
