# oauth2's client_credentials.get_token and the token's get, in 50 threads. The program keeps the token, and asks for another one when
# `expired?` says so. The lines on standard input and output are those of `python/drive.py`.

require "oauth2"

BASE = ENV.fetch("COMPARE_URL")
CLIENT = OAuth2::Client.new("compare-client", ENV.fetch("COMPARE_SECRET"), site: BASE, token_url: "/token", raise_errors: true)
PRINTING = Mutex.new
$stdout.sync = true
$token = nil

def report(answer)
  PRINTING.synchronize { puts answer }
end

def one(method, **options)
  $token = CLIENT.client_credentials.get_token if $token.nil? || $token.expired?
  report $token.request(method, "/api", options).status
rescue OAuth2::Error => error
  warn error.message
  report error.response.status == 401 && $token ? 401 : "error"
rescue StandardError => error
  warn error.message
  report "error"
end

report "ready"
while (line = $stdin.gets)
  name, *numbers = line.split
  count, rate = numbers.map(&:to_i)
  case name
  when "at-once" then Array.new(count) { Thread.new { one(:get) } }.each(&:join)
  when "in-turn" then count.times { one(:get) }
  when "upload" then one(:post, body: "x" * 1_000_000)
  when "paced"
    queue = Queue.new
    workers = Array.new(50) { Thread.new { one(:get) while queue.pop } }
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    count.times do |turn|
      pause = start + turn / rate.to_f - Process.clock_gettime(Process::CLOCK_MONOTONIC)
      sleep(pause) if pause.positive?
      queue << true
    end
    workers.each { queue << nil }.each(&:join)
  end
end
