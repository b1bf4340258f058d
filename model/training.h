#pragma once

// What every trainer is made of.
#include "model/batch.h"
#include "model/blocks.h"
#include "model/head.h"
#include "model/numerics/canonical_sum.h"
#include "model/optimizer.h"
#include "model/parameters.h"
#include "model/pass.h"
#include "model/statistics.h"
