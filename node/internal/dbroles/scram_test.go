package dbroles

import "testing"

func TestSecretMatchesItsPasswordOnly(t *testing.T) {
	// The example of RFC 7677 in PostgreSQL's format.
	const known = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if !matches(known, "pencil") || matches(known, "pencil ") || matches("md5abc", "pencil") || matches("", "") {
		t.Error("a secret matches another password, or not its own")
	}
	made, err := newSecret("pencil")
	if err != nil || !matches(made, "pencil") || made == known {
		t.Errorf("newSecret() = %q, %v; want a new secret of the password", made, err)
	}
}
