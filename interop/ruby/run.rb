# Runs a verifier of this directory for the tests: ruby run.rb FILE. For each
# token on a line of its input it prints "ok SUB" or "no REASON".
$stdout.sync = true
load ARGV.shift

$stdin.each_line(chomp: true) do |token|
  puts "ok #{verify(token)['sub']}"
rescue StandardError => e
  puts "no #{e.class} #{e.message.split.join(' ')}"
end
