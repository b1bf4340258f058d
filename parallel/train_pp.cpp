// Pipeline parallel: each rank (a stage) holds a run of layers, and microbatches pass through.
//
//     layers   | embedding, hidden.0 | hidden.1 | output |
//     stage            0                 1          2
//
//     1f1b, 4 microbatches (digits: forward, letters: backward of 0 = a, 1 = b, ...), time ->
//     right: stage 0   0 1 2     a 3 b   c   d stage 1     0 1   a 2 b 3 c   d stage 2       0 a 1
//     b 2 c 3 d
//
// A microbatch is a run of whole leaves, and backwards come in the order of microbatches, so
// gradients stream into the same sums as on one rank. All stages then update; no weights change in
// between.

#include "parallel/train_pp.h"

#include <vector>

#include "model/numerics/kernels.h"
#include "model/loss.h"
#include "model/model.h"
#include "parallel/reducer.h"
#include "parallel/sample_shares.h"
#include "parallel/train.h"

namespace meshparity {
namespace {

int forward_tag(std::size_t microbatch) { return static_cast<int>(2 * microbatch); }
int backward_tag(std::size_t microbatch) { return static_cast<int>(2 * microbatch + 1); }

}  // namespace

PipelineStage::PipelineStage(const Recipe& recipe, const Corpus& corpus, const Layers& layers,
                             Comm& pp, std::size_t slots, std::size_t max_samples)
    : pp_(pp), depth_(layers.size()) {
  slots_.reserve(slots);
  for (std::size_t i = 0; i < slots; ++i) slots_.emplace_back(recipe, corpus, layers, max_samples);
}

PipelineSlot& PipelineStage::start_forward(std::size_t microbatch, std::size_t step, Range samples) {
  PipelineSlot& s = slot(microbatch);
  // The slot's last microbatch may still be on its way to the neighbours.
  pp_.wait(s.output_sent);
  pp_.wait(s.input_gradient_sent);
  s.batch = s.batch_buffer.draw(Corpus::Split::training, step, samples);
  if (!is_first()) {
    pp_.recv(s.activations.value(0, samples.size()), pp_.rank() - 1, forward_tag(microbatch));
  }
  return s;
}

void PipelineStage::send_output(std::size_t microbatch) {
  if (is_last()) return;
  PipelineSlot& s = slot(microbatch);
  s.output_sent = pp_.isend(s.activations.value(depth_, s.batch.samples), pp_.rank() + 1,
                            forward_tag(microbatch));
}

PipelineSlot& PipelineStage::start_backward(std::size_t microbatch) {
  PipelineSlot& s = slot(microbatch);
  if (!is_last()) {
    pp_.recv(s.activations.gradient(depth_, s.batch.samples), pp_.rank() + 1,
             backward_tag(microbatch));
  }
  return s;
}

void PipelineStage::send_input_gradient(std::size_t microbatch) {
  if (is_first()) return;
  PipelineSlot& s = slot(microbatch);
  s.input_gradient_sent = pp_.isend(s.activations.gradient(0, s.batch.samples), pp_.rank() - 1,
                                    backward_tag(microbatch));
}

void PipelineStage::finish_step() {
  for (PipelineSlot& s : slots_) {
    pp_.wait(s.output_sent);
    pp_.wait(s.input_gradient_sent);
  }
}

void train_pp(const TrainingRun& run, const Parallelism& how, Comm& world) {
  const Recipe& recipe = run.recipe;
  const std::size_t vocabulary = run.corpus.vocabulary();
  validate(how, recipe, vocabulary);
  MeshGroups groups = lay_out(how.mesh, world);
  Comm& pp = *groups.pp;

  // Which layers are this stage's, and in which order it works.
  const std::vector<LayerSpec> model = model_layers(recipe, vocabulary);
  const Range my_layers = share_of(model.size(), pp.size(), pp.rank());
  const std::vector<PipelineAction> schedule =
      schedule_of(how.schedule, pp.rank(), pp.size(), how.microbatches);
  const Range all_leaves = batch_leaves(recipe);
  const std::vector<Range> microbatches = shares_of(all_leaves, how.microbatches);
  const std::size_t max_samples = most_samples(recipe, microbatches);

  const Layers layers = make_layers(std::span(model).subspan(my_layers.begin, my_layers.size()));
  Parameters parameters(layers);
  parameters.fill(run.initial);
  GradientSums gradients = make_gradient_sums(layers, all_leaves.end, {&all_leaves, 1});
  PartialSum loss_sum(all_leaves.end, all_leaves, 1);
  PipelineStage stage(recipe, run.corpus, layers, pp,
                      in_flight(how.schedule, pp.rank(), pp.size(), how.microbatches), max_samples);
  std::vector<ShardView> shards = parameters.views();
  const float inverse_batch = 1.0F / static_cast<float>(recipe.batch);

  for (std::size_t step = 0; step < recipe.steps; ++step) {
    start(gradients, all_leaves);
    loss_sum.start(all_leaves);

    for (const PipelineAction action : schedule) {
      const std::size_t m = action.microbatch;
      const Range mine = samples_of(recipe, microbatches[m]);
      const std::size_t samples = mine.size();

      if (action.kind == PipelineAction::Kind::forward) {
        PipelineSlot& slot = stage.start_forward(m, step, mine);
        for (std::size_t l = 0; l < layers.size(); ++l) {
          layers[l]->forward(slot.batch, parameters.layer(l), slot.activations.value(l, samples),
                             slot.activations.value(l + 1, samples));
        }
        stage.send_output(m);
        if (stage.is_last()) {
          softmax_cross_entropy(slot.batch, slot.activations.value(layers.size(), samples),
                                recipe.vocab_grain, inverse_batch,
                                slot.activations.gradient(layers.size(), samples), loss_sum);
        }
      } else {
        PipelineSlot& slot = stage.start_backward(m);
        for (std::size_t l = layers.size(); l-- > 0;) {
          layers[l]->backward(slot.batch, parameters.layer(l), slot.activations.value(l, samples),
                              slot.activations.value(l + 1, samples),
                              slot.activations.gradient(l + 1, samples),
                              slot.activations.gradient(l, samples), gradients[l]);
        }
        stage.send_input_gradient(m);
      }
    }
    stage.finish_step();

    // Only the last stage knows the loss.
    float loss = stage.is_last() ? loss_sum.total()[0] * inverse_batch : 0.0F;
    pp.broadcast({&loss, 1}, pp.size() - 1);

    attach_gradients(shards, gradients);
    report_step(run.observer, step, loss, shards, world);

    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (std::size_t p = 0; p < gradients[l].size(); ++p) {
        sgd_update(gradients[l][p].total(), recipe.lr, parameters.values(l, p));
      }
    }
  }
  for (ShardView& shard : shards) shard.gradient = {};
  run.observer.finished(shards);
}

}  // namespace meshparity
