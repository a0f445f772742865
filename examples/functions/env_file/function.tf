# MOTD="it's \"quoted\""
# PORT="8000"
output "env_file" {
  value = provider::xeroops::env_file({ PORT = "8000", MOTD = "it's \"quoted\"" })
}
