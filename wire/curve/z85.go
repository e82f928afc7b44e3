package curve

import (
	"encoding/binary"
	"errors"
	"math"
)

const z85Alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// z85Value maps a character to its digit plus one; zero is not a digit.
var z85Value = func() (values [256]uint8) {
	for i := range len(z85Alphabet) {
		values[z85Alphabet[i]] = uint8(i) + 1
	}
	return values
}()

// The texts do not echo the input: it may be most of a secret key.
var (
	errZ85Length = errors.New("curve: a key has 40 characters of Z85")
	errZ85Digit  = errors.New("curve: a key has a character that is not Z85")
	errZ85Range  = errors.New("curve: a key has a group of Z85 characters above 2^32")
)

// encodeZ85 returns the Z85 form of key, RFC 32.
func encodeZ85(key *[keySize]byte) string {
	var text [z85Size]byte
	for i := 0; i < keySize/4; i++ {
		value := binary.BigEndian.Uint32(key[4*i:])
		for j := 4; j >= 0; j-- {
			text[5*i+j] = z85Alphabet[value%85]
			value /= 85
		}
	}
	return string(text[:])
}

// decodeZ85 sets key from its Z85 form. It leaves key alone when it fails.
func decodeZ85(key *[keySize]byte, text string) error {
	if len(text) != z85Size {
		return errZ85Length
	}
	var decoded [keySize]byte
	for i := 0; i < keySize/4; i++ {
		var value uint64
		for j := range 5 {
			digit := z85Value[text[5*i+j]]
			if digit == 0 {
				return errZ85Digit
			}
			value = value*85 + uint64(digit-1)
		}
		if value > math.MaxUint32 {
			return errZ85Range
		}
		binary.BigEndian.PutUint32(decoded[4*i:], uint32(value))
	}
	*key = decoded
	clear(decoded[:])
	return nil
}
