package workersdk

import "github.com/servicetools/servicetools/workersdk/method"

// Borrowed is a parameter, or a result, of a method that lies where the message
// came instead of being copied: bytes that are the method's to read and to change
// until it returns, or until its stream has ended. What it keeps longer, or leaves to
// a goroutine, it must clone: it would see, and change, the bytes of other calls.
// Large calls then cost no memory that has to be collected:
//
//	// Invert returns data with its bits turned, where it came.
//	func (Images) Invert(data workersdk.Borrowed) workersdk.Borrowed {
//		for i := range data {
//			data[i] ^= 0xff
//		}
//		return data
//	}
//
// A result that lies in an argument is sent from there if it is no less than about half
// of the message, or that has no more than 512 bytes. Until the broker has acknowledged
// it, it holds the memory of its call. Any other is copied, and its memory stays the
// method's.
type Borrowed = method.Borrowed
