require_relative "verify"

lines = $stdin.read.split("\n", -1)
while lines.length > 1
  now = lines.shift.to_i
  secrets = lines.shift(lines.shift.to_i)
  headers = lines.shift(lines.shift.to_i).to_h { |line| line.split(" ", 2) }
  puts verify(headers, [lines.shift].pack("H*"), secrets NOW)
end
