// Package workersdk makes a worker of a Go value: its exported methods become
// callable by name through a servicetools broker. Main is a whole program:
//
//	type Calc struct{}
//
//	// Add returns a+b.
//	func (Calc) Add(ctx context.Context, a, b int) (int, error) { return a + b, nil }
//
//	func main() { workersdk.Main(Calc{}) }
//
// A method may take a leading context.Context and then positional parameters,
// variadic ones, or one struct that keyword arguments fill. It returns nothing,
// a value, an error, or a value and an error; a channel or an iterator streams.
// Package method has the rules; a method that does not fit them is an error of
// New that says what to change.
//
// The context ends with the caller's deadline or cancellation, and
// context.Cause tells which. A panic of a method is an error of that call. What
// no Go program can contain ends the process, and the broker tells the callers:
// os.Exit, a panic in a goroutine that the method started, memory that is gone.
//
// A []byte argument is the method's for good. One of type Borrowed is the method's
// until it returns, which makes large calls a good deal cheaper; it may be changed
// and returned where it lies.
//
// The worker speaks the compact protocol of docs/protocol.md, section 4.
package workersdk
