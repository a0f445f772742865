package dbroles

import "testing"

func TestASecretIsOfThePasswordThatItWasMadeOf(t *testing.T) {
	// The example of RFC 7677, in PostgreSQL's form.
	const known = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if !isOf(known, "pencil") || isOf(known, "pencil ") || isOf("md5abc", "pencil") || isOf("", "") {
		t.Error("a secret is taken for another password's, or not for its own")
	}
	made, err := secretOf("pencil")
	if err != nil || !isOf(made, "pencil") || made == known {
		t.Errorf("made %q, %v", made, err)
	}
}
